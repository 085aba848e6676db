"""Which outputs of the pipeline belong to a model or a task: what `retune pull` asks DVC for.

Names come from `params.yaml`, outputs and their hashes from DVC, which reads them in dvc.yaml and dvc.lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from retune.errors import RetuneError, unknown
from retune.pipeline import seeds
from retune.pipeline.declarations import PARAMS
from retune.pipeline.fingerprint import STAGES
from retune.pipeline.yaml_file import LOADER

BASES = "models/bases/"
NEED_BASE = ("llm",)
"""Learners that predict with their base's files; the folders of all others hold what they need."""


def chosen(outs: Iterable[Any], names: Sequence[str], without_bases: bool) -> list[Any]:
    """The outputs (of DVC's kind, with `stage` and `def_path`) that `names` need, of all; none named: all.

    A model: its folder, its calibration, and the base where it predicts with it. A task: all that was built of it and
    of its models, and their bases. Raises `RetuneError` for a name that is neither or both, or that nobody has built.
    """
    outs = list(outs)
    if names:
        declared = yaml.load(Path(PARAMS).read_text(encoding="utf-8"), LOADER)
        wanted = [of for name in names for of in _of(name, declared, outs)]
        outs = [out for out in outs if any(out is one for one in wanted)]
    return [out for out in outs if not (without_bases and out.def_path.startswith(BASES))]


def _of(name: str, declared: dict[str, Any], outs: list[Any]) -> list[Any]:
    more = seeds.read()
    models, tasks = {**(declared.get("models") or {}), **more["models"]}, declared.get("tasks") or {}
    means = more["ensembles"]
    if name in means:
        found = [out for out in outs if _key(out, "ensembles") == name and _predicts(out, name)]
        members = [of for member in means[name]["members"] for of in _of(member, declared, outs)]
        return _known(name, found, f"ensemble@{name}") + members
    if name in models and name in tasks:
        raise RetuneError(
            f"`{name}` in {PARAMS} is both a model and a task, so it does not say which: rename one of them"
        )
    if name in models:
        bases = {models[name]["base"]} if models[name]["learner"] in NEED_BASE else set()
        found = [out for out in outs if _key(out, "models") == name and _predicts(out, name)]
        stage = f"calibrate@{name}"
    elif name in tasks:
        mine = {model for model, entry in models.items() if entry["task"] == name}
        bases = {models[model]["base"] for model in mine}
        own = {mean for mean, entry in means.items() if entry["task"] == name}
        found = [
            out
            for out in outs
            if _key(out, "tasks") == name
            or {_key(out, section) for section in ("models", "students", "starts")} & mine
            or _key(out, "ensembles") in own
        ]
        stage = f"compare@{name}"
    else:
        raise RetuneError(unknown("model or task", name, [*models, *means, *tasks]))
    return _known(name, found, stage) + [out for out in outs if _key(out, "bases") in bases]


def _known(name: str, found: list[Any], stage: str) -> list[Any]:
    """The outputs, of which somebody built one."""
    if not any(out.hash_info for out in found):
        raise RetuneError(f"dvc.lock does not know {name}: pull the commit of who built it, or `dvc repro {stage}`")
    return found


def _predicts(out: Any, model: str) -> bool:
    return bool(out.def_path == f"models/{model}" or out.def_path.startswith("data/calibrations/"))


def _key(out: Any, section: str) -> str | None:
    """The entry of a section of the declarations that an output was made for."""
    stage, _, key = (getattr(out.stage, "name", None) or "").partition("@")
    return key if STAGES.get(stage) == section else None
