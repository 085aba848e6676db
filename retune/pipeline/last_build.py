"""What dvc.lock says of a model while a build runs: whether what lies in its folder is what was built."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from retune.pipeline.yaml_file import LOADER

LOCK = Path("dvc.lock")
TRIES, PAUSE = 5, 0.2
"""How often, and after how many seconds, it is read again: another run of DVC may be writing it."""


def model_hash(model: str) -> str | None:
    """The hash that dvc.lock has of a model's folder; None where it has none."""
    for attempt in range(TRIES):
        time.sleep(PAUSE * bool(attempt))
        try:
            entries = (yaml.load(LOCK.read_text(encoding="utf-8"), LOADER) or {}).get("stages") or {}
        except (OSError, yaml.YAMLError):
            continue
        if entry := entries.get(f"train@{model}"):
            return next((out["md5"] for out in entry["outs"] if out["path"] == f"models/{model}"), None)
    return None
