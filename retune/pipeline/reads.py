"""What each stage instance reads of params-resolved.json, as one hash: DVC compares it instead of all the values.

DVC writes the values of a stage's parameters into dvc.lock, and reads and writes that whole file after every stage;
with the resolved sections themselves in it, this took longer than most stages. The values are in params-resolved.json,
which is committed, and `git diff` shows what changed in them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from retune.pipeline.fingerprint import STAGES

READS = {
    "download_base": ("bases.{key}",),
    "download": ("tasks.{key}.source",),
    "convert": ("tasks.{key}.convert",),
    "augment": ("tasks.{key}.augmentation",),
    "split": ("tasks.{key}.split",),
    "explore": ("tasks.{key}.exploration",),
    "train": ("models.{key}",),
    "predict": (
        "models.{key}.hardware",
        "generation.{key}",
        "tasks.{task}.evaluation.limit",
        "tasks.{task}.evaluation.generate_rows",
    ),
    "calibrate": ("tasks.{task}.calibration",),
    "evaluate": ("tasks.{task}.evaluation",),
    "compare": ("tasks.{key}.models", "tasks.{key}.chains", "tasks.{key}.evaluation"),
    "report": ("tasks", "models", "bases"),
}
"""Stage -> the parts of the resolved file that its instance `key` (a model's: of `task`) reads."""


def reads(resolved: dict[str, Any]) -> dict[str, Any]:
    """The `reads` section of the resolved file: {stage: {instance: hash}}, and the report's hash."""
    found: dict[str, Any] = {
        stage: {key: _hash(stage, resolved, key, entry.get("task", key)) for key, entry in resolved[section].items()}
        for stage, section in STAGES.items()
    }
    return {**found, "report": _hash("report", resolved, "", "")}


def _hash(stage: str, resolved: dict[str, Any], key: str, task: str) -> str:
    """The hash of what one instance reads; the order of keys counts, since it can be that of columns."""
    parts = {}
    for path in READS[stage]:
        value: Any = resolved
        for name in path.split("."):
            value = None if value is None else value.get(name.format(key=key, task=task))
        parts[path] = value
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:16]
