"""What each stage instance reads of params-resolved.json, and its code, as a file of its own that DVC compares.

They are dependencies and no parameters of DVC: so `dvc params diff` and `dvc exp show` speak of what a person wrote, in
params.yaml, alone. As parameters their values would stand in dvc.lock, too, which DVC reads and writes after every
stage. The files are committed, and `git diff` shows which stage instances a change reaches, and by what.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from retune.atomic_file import replacing
from retune.params import RESOLVED_PARTS
from retune.pipeline.fingerprint import STAGES

READS = {
    "download_base": "bases.{key}",
    "download": "tasks.{key}.source",
    "convert": "tasks.{key}.convert",
    "augment": "tasks.{key}.augmentation",
    "split": "tasks.{key}.split",
    "explore": "tasks.{key}.exploration",
    "teach": "students.{key}",
    "warm": "starts.{key}",
    "train": "models.{key}",
    "predict": "predictions.{key}",
    "calibrate": "tasks.{task}.calibration",
    "evaluate": "tasks.{task}.evaluation",
    "ensemble": "ensembles.{key}",
    "export": "exports.{key}",
    "compare": "tasks.{key}.comparison",
}
"""Stage -> the part of the resolved file that its instance `key` (a model's: of `task`) reads."""

FOR_PEOPLE = ("license", "note")
"""What a base says to people: it stands in the report, and in no file that a training reads."""

SHOWN = ("kind", "labels", "reasoning", "scores", "dimensions", "source", "models", "seeds", "ensembles")
"""What the report shows of a task, beside its intervals; of models and bases it shows all, of exports the model."""

OF_INTERVALS = ("confidence", "bootstrap")
"""What it shows of a task's section `evaluation`."""

SHOWN_KEYS = (
    *(f"tasks.*.{key}" for key in SHOWN),
    *(f"tasks.*.evaluation.{key}" for key in OF_INTERVALS),
    "models.*",
    "ensembles.*",
    "bases.*",
    "exports.*.model",
)
"""The same as keys of the resolved file; `*` is any name."""


def parts(resolved: dict[str, Any]) -> dict[str, Any]:
    """What each stage instance reads: {stage: {instance: part}}, and what the report shows."""
    found: dict[str, Any] = {
        stage: {key: _part(stage, resolved, key, entry.get("task", key)) for key, entry in resolved[section].items()}
        for stage, section in STAGES.items()
    }
    return {**found, "report": _shown(resolved)}


def instances(resolved: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """What each stage instance reads, and the hash of its code, by the path of its file."""
    return {
        path(stage, key): (one, code)
        for stage, part in parts(resolved).items()
        for key, one, code in (
            [("", part, resolved["code"][stage])]
            if stage == "report"
            else [(key, one, resolved["code"][stage][key]) for key, one in part.items()]
        )
    }


def path(stage: str, key: str) -> str:
    """The file of a stage instance; `report` has no key."""
    return (RESOLVED_PARTS / stage / f"{key}.json" if key else RESOLVED_PARTS / f"{stage}.json").as_posix()


def files(resolved: dict[str, Any]) -> dict[str, str]:
    """The text of each stage instance's file, by its path. The order of keys counts, since it can be that of columns.

    What the report reads is in the other files already; its own has a hash of it.
    """
    return {
        file: dumps({"code": code, "reads": content_hash(one) if file == path("report", "") else one})
        for file, (one, code) in instances(resolved).items()
    }


def write(texts: dict[str, str], project: Path = Path()) -> None:
    """Make the folder hold these files and no others. An equal one is not touched: DVC need not hash it."""
    for file in sorted((project / RESOLVED_PARTS).rglob("*"), reverse=True):
        if file.is_dir():
            if not any(file.iterdir()):
                file.rmdir()
        elif file.relative_to(project).as_posix() not in texts:
            file.unlink()
    for name, text in texts.items():
        file = project / name
        if not file.is_file() or file.read_bytes() != text.encode():
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as part:
                part.write_text(text, encoding="utf-8", newline="\n")


def dumps(value: Any) -> str:
    """JSON for people and git: keys in the order of declaration, two spaces, one newline at the end."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def digest(text: str) -> str:
    """The hash by which DVC knows a file, in dvc.lock."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


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
    exports = {name: one["model"] for name, one in resolved["exports"].items()}
    found = {"tasks": tasks, "models": resolved["models"], "bases": resolved["bases"]}
    found |= {"ensembles": resolved["ensembles"]} if resolved["ensembles"] else {}
    return {**found, **({"exports": exports} if exports else {})}


def content_hash(value: Any) -> str:
    """The hash of what one instance reads; the order of keys counts, since it can be that of columns."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]
