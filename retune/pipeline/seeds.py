"""Models with several seeds: a further seed makes a member, a model of its own (`intent_encoder-43`).

DVC takes its stages from params.yaml, and reads beside it data/generated.json, which `resolve` writes: the members, the
ensembles (`intent_encoder-mean`), the models with a teacher (retune.pipeline.teachers) and those that start warm
(retune.pipeline.warm_start). It does so before any stage runs; so where these changed, `resolve` writes that file and
ends the run, before anything is built that lacks them. `retune repro` writes it first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from retune.atomic_file import replacing
from retune.errors import RetuneError
from retune.pipeline import effective, teachers, warm_start
from retune.pipeline.declarations import PARAMS, Project, mapping
from retune.pipeline.schema.params import Model
from retune.pipeline.yaml_file import LOADER

FILE = Path("data/generated.json")
NOTHING: dict[str, Any] = {"models": {}, "ensembles": {}, "students": {}, "starts": {}}
COMPARED = ("seeds", "ensembles", "fixed")
"""What the comparison of a task's models reads beside their names, where one of them has several seeds."""
MEAN = "mean"


def of(declared: Project, model: Model, spec: dict[str, Any]) -> list[int]:
    """The seeds that a model is trained with, where it has several; `spec` is its merged section."""
    if model.seeds is not None:
        found = model.seeds
    else:
        found = declared.seeds if model.seed is None and spec["kind"] and effective.seeded(spec) else []
    return list(dict.fromkeys(found))


def member(model: str, seed: int | str) -> str:
    """The name of the model of a further seed, or of the ensemble."""
    return f"{model}-{seed}"


def expand(declared: Project, resolved: dict[str, Any]) -> None:
    """Add the members to `models` and `predictions`, each behind its model; to their tasks how they belong together.

    A task gets `seeds`, model -> member -> seed, `ensembles`, name -> model, and `fixed`, the models that no seed
    changes.
    """
    models, predictions = {}, {}
    for name, model in declared.models.items():
        spec, written = resolved["models"][name], resolved["predictions"][name]
        seeds = of(declared, model, spec)
        names = [name, *(member(name, seed) for seed in seeds[1:])]
        for one, seed in zip(names, seeds or [spec["seed"]], strict=True):
            models[one], predictions[one] = {**spec, "seed": seed}, written
        if len(seeds) > 1:
            task = resolved["tasks"][model.task]
            task.setdefault("seeds", {})[name] = dict(zip(names, seeds, strict=True))
            if model.ensemble == MEAN:
                task.setdefault("ensembles", {})[member(name, MEAN)] = name
    for task in resolved["tasks"].values():
        if "seeds" in task:
            task["fixed"] = [name for name in task["models"] if not effective.seeded(models[name])]
    resolved["models"], resolved["predictions"] = models, predictions


def add_sections(declared: Project, resolved: dict[str, Any]) -> None:
    """Add `ensembles`, `students` and `starts`: what each of their stages needs; `resolved` has its final form."""
    teachers.add_students(declared, resolved)
    warm_start.add_starts(resolved)
    resolved["ensembles"] = {
        name: _ensemble(resolved["models"][model], task, list(task["seeds"][model]))
        for task in resolved["tasks"].values()
        for name, model in task.get("ensembles", {}).items()
    }


def _ensemble(spec: dict[str, Any], task: dict[str, Any], members: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {
        key: spec[key] for key in ("task", "kind", "base", "base_name", "labels", "scores") if key in spec
    }
    said |= {"learner": "ensemble", "members": members}
    return said | {key: task[key] for key in ("calibration", "evaluation")}


def items(resolved: dict[str, Any]) -> dict[str, Any]:
    """The contents of data/generated.json: the sections over which DVC's stages go, beside those of params.yaml."""
    members = {
        name: {key: resolved["models"][name][key] for key in ("task", "base", "learner")}
        for task in resolved["tasks"].values()
        for model, seeds in task.get("seeds", {}).items()
        for name in seeds
        if name != model
    }
    ensembles = {
        name: {key: one[key] for key in ("task", "base", "members")} for name, one in resolved["ensembles"].items()
    }
    return {
        "models": members,
        "ensembles": ensembles,
        "students": teachers.items(resolved),
        "starts": warm_start.items(resolved),
    }


def read(folder: Path = Path()) -> dict[str, Any]:
    """The file as it is; without one there are no members, students or starts."""
    file = folder / FILE
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return NOTHING
    except json.JSONDecodeError:
        raise RetuneError(f"{FILE} is not JSON: restore it from git, or `git checkout {FILE}`") from None
    return {**NOTHING, **found}


def changed(known: dict[str, Any], now: dict[str, Any]) -> str | None:
    """What to do where DVC began with other members, ensembles, students or starts than there are now."""
    before, after = map(_named, (known, now))
    if before == after:
        return None
    new, gone = ([n for n in one if n not in other] for one, other in ((after, before), (before, after)))
    parts = [f"{what} {', '.join(names)}" for what, names in (("new:", new), ("gone:", gone)) if names]
    said = f" ({'; '.join(parts)})" if parts else ""
    return (
        f"`seeds`, `ensemble`, `teacher` or `warm_start` changed what there is to build{said}, and DVC read {FILE} "
        "before. It is up to date now: run the same command again, or `retune repro`"
    )


def _named(items: dict[str, Any]) -> dict[str, Any]:
    students = {f"{name} (taught by {one['teacher']})": one for name, one in items["students"].items()}
    starts = {f"{name} (warm start)": one for name, one in items["starts"].items()}
    return {**items["models"], **items["ensembles"], **students, **starts}


def prepare(compiled: Any, folder: Path = Path()) -> None:
    """Bring the file up to date before DVC starts, where params.yaml or the file itself names such models.

    `compiled()` gives the contents; nothing is compiled in a project without both.
    """
    declared = mapping(yaml.load((folder / PARAMS).read_text(encoding="utf-8"), LOADER))
    models = mapping(declared.get("models")).values()
    known = read(folder)
    named = declared.get("seeds") or any(mapping(model).get(key) for model in models for key in ("seeds", "teacher"))
    named = named or any(mapping(one.get("training")).get("warm_start") for one in (declared, *map(mapping, models)))
    if (named or any(known.values())) and (now := compiled()) != known:
        with replacing(folder / FILE) as part:
            part.write_text(json.dumps(now, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")
