"""Models with `training.warm_start`: `warm@MODEL` keeps their last version as a start, `train@MODEL` goes on from it.

The last version is what stands in models/MODEL when the training rows changed. It is read there and not declared, since
it is what the training writes; so what is kept of it is an output, which DVC caches: every later training on the same
rows, here or in another clone, begins with the same bytes.

DVC has no dependency that only some instances of a stage have. So every model's training depends on a folder
data/starts/MODEL, which holds a note whether it starts warm; where it does, the stage `warm` writes below it. The notes
are committed, as the files in resolved/ are.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from retune.atomic_file import replacing

FOLDER, NOTE, LAST = Path("data/starts"), "warm_start.json", "last"
"""Of the starts of all models; what says whether a model has one; the output of its stage."""

OF_ALL = ("task", "kind", "learner", "base", "base_name", "labels")
OF_LLM = {
    "lora": ("method", "r", "alpha", "targets"),
    "quantization": ("bits", "double"),
    "training": ("freeze_layers",),
}
"""What the stage `warm` reads of a model, and of an LLM besides: what its last version must have in common with it.

An encoder's adapter is merged in its weights."""


def wanted(spec: Any) -> bool:
    """Whether a resolved model begins with its last version where it can."""
    return bool(spec.get("training", {}).get("warm_start"))


def add_starts(resolved: dict[str, Any]) -> None:
    """Add the section `starts`: of each model that starts warm what its last version must fit.

    Members of seeds have starts of their own. `resolved` has its final form.
    """
    resolved["starts"] = {name: _fitting(spec) for name, spec in resolved["models"].items() if wanted(spec)}


def _fitting(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: spec[key] for key in ("task", "kind", "learner", "base", "base_name", "labels") if key in spec
    }
    if spec["learner"] == "llm":
        for section, keys in OF_LLM.items():
            found[section] = {key: spec[section][key] for key in keys if key in spec[section]}
    return found


def items(resolved: dict[str, Any]) -> dict[str, Any]:
    """The section over which DVC's stage `warm` goes."""
    return {name: {key: one[key] for key in ("task", "base", "learner")} for name, one in resolved["starts"].items()}


def write(resolved: dict[str, Any], project: Path = Path()) -> None:
    """Make every model's folder say whether it starts warm, and hold no start where it doesn't; no others stay."""
    folder = project / FOLDER
    for one in folder.iterdir() if folder.is_dir() else ():
        if one.is_dir() and one.name not in resolved["models"]:
            shutil.rmtree(one)
    for name, spec in resolved["models"].items():
        if not wanted(spec):
            shutil.rmtree(folder / name / LAST, ignore_errors=True)
        text, file = json.dumps({"warm_start": wanted(spec)}) + "\n", folder / name / NOTE
        if not file.is_file() or file.read_bytes() != text.encode():
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
