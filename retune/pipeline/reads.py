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
    "download_base": "bases.{key}",
    "download": "tasks.{key}.source",
    "convert": "tasks.{key}.convert",
    "augment": "tasks.{key}.augmentation",
    "split": "tasks.{key}.split",
    "explore": "tasks.{key}.exploration",
    "train": "models.{key}",
    "predict": "predictions.{key}",
    "calibrate": "tasks.{task}.calibration",
    "evaluate": "tasks.{task}.evaluation",
    "compare": "tasks.{key}.comparison",
}
"""Stage -> the part of the resolved file that its instance `key` (a model's: of `task`) reads."""

FOR_PEOPLE = ("license", "note")
"""What a base says to people: it stands in the report, and in no file that a training reads."""

SHOWN = ("kind", "labels", "reasoning", "scores", "dimensions", "source", "models")
"""What the report shows of a task, beside its intervals; of models and bases it shows all."""

OF_INTERVALS = ("confidence", "bootstrap")
"""What it shows of a task's section `evaluation`."""

SHOWN_KEYS = (
    *(f"tasks.*.{key}" for key in SHOWN),
    *(f"tasks.*.evaluation.{key}" for key in OF_INTERVALS),
    "models.*",
    "bases.*",
)
"""The same as keys of the resolved file; `*` is any name."""


def parts(resolved: dict[str, Any]) -> dict[str, Any]:
    """What each stage instance reads: {stage: {instance: part}}, and what the report shows."""
    found: dict[str, Any] = {
        stage: {key: _part(stage, resolved, key, entry.get("task", key)) for key, entry in resolved[section].items()}
        for stage, section in STAGES.items()
    }
    return {**found, "report": _shown(resolved)}


def reads(resolved: dict[str, Any]) -> dict[str, Any]:
    """The `reads` section of the resolved file: {stage: {instance: hash}}, and the report's hash."""
    return {
        stage: content_hash(part) if stage == "report" else {key: content_hash(one) for key, one in part.items()}
        for stage, part in parts(resolved).items()
    }


def _part(stage: str, resolved: dict[str, Any], key: str, task: str) -> Any:
    value: Any = resolved
    for name in READS[stage].split("."):
        value = value[name.format(key=key, task=task)]
    return {k: v for k, v in value.items() if k not in FOR_PEOPLE} if stage == "download_base" else value


def _shown(resolved: dict[str, Any]) -> Any:
    tasks = {
        name: {
            **{key: task[key] for key in SHOWN if key in task},
            **{key: task["evaluation"][key] for key in OF_INTERVALS if key in task["evaluation"]},
        }
        for name, task in resolved["tasks"].items()
    }
    return {"tasks": tasks, "models": resolved["models"], "bases": resolved["bases"]}


def content_hash(value: Any) -> str:
    """The hash of what one instance reads; the order of keys counts, since it can be that of columns."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]
