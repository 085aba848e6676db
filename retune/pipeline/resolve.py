"""The compiler: params.yaml, the catalogs and the prompts become params-resolved.json, which every stage reads.

Merge rule: what a model or task says beats the default section, key by key; nothing else. The merged section is
validated again. All problems of all files are reported at once. What is merged and checked is then cut down to what has
an effect (retune.pipeline.effective); each stage reads one section of the result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from retune.errors import RetuneError
from retune.pipeline import (
    auto,
    declarations,
    effective,
    export_section,
    fingerprint,
    kind_constants,
    meanings,
    path_entries,
    seeds,
    teachers,
)
from retune.pipeline.checks import scoring
from retune.pipeline.checks.project import check, warnings
from retune.pipeline.declarations import Project
from retune.pipeline.reads import files
from retune.pipeline.schema.catalog import Source
from retune.pipeline.schema.params import Model, Task, reasons, sections, writes
from retune.pipeline.validation import messages

OF_ROWS = ("tables", "unlabelled", "corrections")  # what a source says of its rows, not of where its files are

TASK_SECTIONS = ("augmentation", "split", "calibration", "evaluation")


@dataclass(frozen=True)
class Resolution:
    """The contents of params-resolved.json, data/outside.json and data/generated.json, and what deserves a look.

    `files`: path -> text of what each instance depends on (retune.pipeline.reads); `meanings`: what their hashes mean.
    """

    resolved: dict[str, Any]
    files: dict[str, str]
    outside: dict[str, Any]
    seeded: dict[str, Any]
    warnings: list[str]
    meanings: dict[str, Any]


def resolve(folder: Path, params: Path | None = None) -> Resolution:
    """Compile the project in `folder`, with another file for its params.yaml if one is given.

    Raises one `RetuneError` that lists every problem.
    """
    declared = declarations.load(folder, params)
    resolved, found = compiled(declared)
    contents = fingerprint.contents(folder, resolved)
    resolved["code"] = fingerprint.hashes(contents)
    outside = {"outside": path_entries.outside(declared)}
    return Resolution(resolved, files(resolved), outside, seeds.items(resolved), found, meanings.of(resolved, contents))


def compiled(declared: Project) -> tuple[dict[str, Any], list[str]]:
    """What `declared` comes to, but for the hashes of code; and the warnings."""
    resolved: dict[str, Any] = {
        "seed": declared.seed,
        **({} if declared.strict else {"strict": False}),
        "bases": {role: _base(declared, role, name) for role, name in declared.bases.items()},
        "tasks": {name: _task(declared, name, task) for name, task in declared.tasks.items()},
        "models": {name: _model(declared, name, model) for name, model in declared.models.items()},
        # Beside the models: `train` depends on all of a model's section, and what predicts trains nothing.
        "predictions": {name: _generation(declared, name, model) for name, model in declared.models.items()},
    }
    resolved["exports"] = {name: export_section.of(resolved, entry) for name, entry in declared.exports.items()}
    if declared.gate:
        resolved["gate"] = {name: entry.model_dump() for name, entry in declared.gate.items()}
    for name, task in resolved["tasks"].items():
        task["exploration"] = _exploration(declared, resolved, name)
    check(declared, resolved)
    if problems := declared.problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RetuneError("\n  ".join([f"{count}, nothing was written", *problems]))
    found = warnings(declared, resolved)
    seeds.expand(declared, resolved)
    _cut(declared, resolved)
    seeds.add_sections(declared, resolved)
    return resolved, found


def _cut(declared: Project, resolved: dict[str, Any]) -> None:
    """Leave of the merged and checked sections what has an effect."""
    tasks, models = resolved["tasks"], resolved["models"]
    for name, spec in models.items():
        task = tasks[spec["task"]]
        target = str(kind_constants.constants(declared, spec["kind"])["TARGET"])
        written = resolved["predictions"][name]
        resolved["predictions"][name] = effective.prediction(spec, written, task["evaluation"], target)
        models[name] = effective.model(spec)
    for task in tasks.values():
        task["augmentation"] = effective.augmentation(task["augmentation"])
        task["calibration"] = effective.calibration(task["calibration"])
        task["comparison"] = {
            "models": task["models"],
            "chains": task["chains"],
            **{key: task[key] for key in seeds.COMPARED if key in task},
            **effective.comparison(task["evaluation"]),
        }
        task["evaluation"] = effective.evaluation(task["evaluation"])
        for section in ("convert", "split", "calibration", "evaluation", "comparison"):
            _name_dimensions(task[section])
    for entry in resolved["exports"].values():
        entry.update(export_section.measured(entry, tasks[entry["task"]]["evaluation"]))


def _name_dimensions(section: dict[str, Any]) -> None:
    """Dimensions by name alone, but where a judge is told of them: their texts are for prompts."""
    if "dimensions" in section and not section.get("judge"):
        section["dimensions"] = list(section["dimensions"])


def merge(default: BaseModel, own: dict[str, Any]) -> dict[str, Any]:
    """A default section with a model's or task's own keys over it, not yet validated."""
    return {**default.model_dump(by_alias=True), **own}


def _section(declared: Project, at: tuple[str, ...], own: dict[str, Any]) -> dict[str, Any]:
    """The merged and validated section at `at`; its problems go to params.yaml's document."""
    default = declared.defaults[at[-1]]
    merged = merge(default, own)
    try:
        return type(default).model_validate(merged).model_dump(by_alias=True)
    except ValidationError as error:
        for keys, text in messages(type(default), merged, error):
            declared.params.problem((*at, *keys), text)
        return default.model_dump(by_alias=True)


def _said(entry: BaseModel) -> dict[str, Any]:
    """The fields of a catalog entry that are set."""
    return entry.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)


def _base(declared: Project, role: str, name: str) -> dict[str, Any]:
    checkpoint = declared.checkpoints.get(name)
    entry: dict[str, Any] = {"name": name, **_said(checkpoint)} if checkpoint else {"name": name}
    if checkpoint and checkpoint.kind == "path":
        entry["hashes"] = path_entries.hashes(declared, declarations.MODELS, name, checkpoint)
    return entry


def _task(declared: Project, name: str, task: Task) -> dict[str, Any]:
    source = declared.sources.get(task.source)
    tables = _said(source)["tables"] if source else []
    corrected = {"corrections": source.corrections} if source and source.corrections else {}
    kind: dict[str, Any] = {"kind": task.kind}
    shape = kind_constants.constants(declared, task.kind)
    labels = task.labels or (shape.get("LABELS") if shape.get("TARGET") == "label" else None)
    labels = labels or scoring.scores(task)
    if labels:
        kind["labels"] = list(labels)
    kind |= _scoring(task)
    sections = {
        section: {
            **({"kind": task.kind} if section == "augmentation" else kind),
            **_section(declared, ("tasks", name, section), getattr(task, section)),
        }
        for section in TASK_SECTIONS
    }
    for section, without in shape.get("WITHOUT", {}).items():
        unread = type(declared.defaults[section]).model_fields if without is None else without
        sections[section] = {key: value for key, value in sections[section].items() if key not in unread}
    for method in ("swap", "transitive") if task.reasoning else ():  # it speaks of the first and the second text
        sections["augmentation"].pop(method, None)
    if not reasons(task):
        for key in ("judge", "terms"):
            sections["evaluation"].pop(key, None)
    if task.abstain:
        sections["calibration"]["abstain"] = task.abstain.promised()
    sections["split"]["data_ratio"] = task.data_ratio
    sections["evaluation"] = {**kind, "seed": declared.seed, **sections["evaluation"]}
    return {
        **kind,
        "source": _fetch(declared, task, source),
        "convert": {**kind, "source": task.source, "tables": tables, "max_rejects": task.max_rejects, **corrected},
        **sections,
        **_prompt(declared, task, labels or shape.get("LABELS")),
        "chains": {chain: pair.model_dump() for chain, pair in task.chains.items()},
        "models": [model for model, spec in declared.models.items() if spec.task == name],
    }


def _exploration(declared: Project, resolved: dict[str, Any], name: str) -> dict[str, Any]:
    """What `explore` needs: the kind, the labels, and what the models read with (see exploration.token_lengths)."""
    task = resolved["tasks"][name]
    readers: dict[str, dict[str, Any]] = {}
    for model in task["models"]:
        spec = resolved["models"][model]
        base = resolved["bases"].get(spec["base"], {})
        if "training" not in spec or base.get("kind") == "none":
            continue
        reader = {"base": spec["base"], "learner": spec["learner"], "max_length": spec["training"]["max_length"]}
        reader |= {"prompt": spec["prompt"]} if "prompt" in spec else {}
        readers.setdefault(json.dumps(reader, sort_keys=True), {"models": [], **reader})["models"].append(model)
    said: dict[str, Any] = {
        key: task[key] for key in ("kind", "labels", "reasoning", "scores", "dimensions") if key in task
    }
    if kind_constants.constants(declared, task["kind"]).get("TARGET") == "label":
        said |= _section(declared, ("tasks", name, "exploration"), declared.tasks[name].exploration)
    return {**said, "readers": list(readers.values())}


def _fetch(declared: Project, task: Task, source: Source | None) -> dict[str, Any]:
    """What `download` needs, and nothing of the mapping, so that a change of the mapping fetches nothing again."""
    if source is None:
        return {"name": task.source}
    part = {"name": task.source, **{key: value for key, value in _said(source).items() if key not in OF_ROWS}}
    if source.kind == "sample":
        # Not `size`: DVC leaves keys of that name out of its run-cache key and would restore another size's rows.
        part |= {"seed": declared.seed, "rows": task.size}
    if source.kind == "path":
        part["files"] = path_entries.hashes(declared, declarations.DATA, task.source, source)
    return part


def _model(declared: Project, name: str, model: Model) -> dict[str, Any]:
    task = declared.tasks.get(model.task)
    resolved: dict[str, Any] = {
        "task": model.task,
        "kind": task.kind if task else None,
        "learner": model.learner,
        "base": model.base,
        "base_name": declared.bases.get(model.base),
        "seed": declared.seed if model.seed is None else model.seed,
        "augmented": model.augmented,
        **teachers.section(model),
    }
    shape = kind_constants.constants(declared, task.kind) if task else {}
    labels = (task.labels or shape.get("LABELS") or scoring.scores(task)) if task else None
    if labels:
        resolved["labels"] = list(labels)
    resolved |= _scoring(task) if task else {}
    if "dimensions" in resolved:
        resolved["dimensions"] = list(resolved["dimensions"])  # their texts are in the prompt
    kind = task.kind if task else None
    for section in sections(model.learner, kind):
        if section == "lora" and model.lora is None and model.learner != "llm":
            resolved["lora"] = {"method": "full"}  # the default section is the LLM's
        else:
            resolved[section] = _section(declared, ("models", name, section), getattr(model, section) or {})
    if "training" in resolved:
        resolved["training"] = auto.training(resolved)
    if resolved.get("training", {}).get("select") == "auto":
        thinks = resolved["training"]["thinking"] and writes(model.learner, task)
        resolved["training"]["select"] = "loss" if thinks else shape.get("SELECT", "loss")
    if model.curriculum:
        resolved["curriculum"] = [stage.model_dump() for stage in model.curriculum]
        resolved["training"]["epochs"] = sum(stage.epochs for stage in model.curriculum)
    if model.dimensions:
        resolved["train_dimensions"] = model.dimensions
    if model.learner in ("llm", "api") and task:
        resolved |= _prompt(declared, task, labels)
    return resolved


def _generation(declared: Project, name: str, model: Model) -> dict[str, Any]:
    """The section `generation` of a model that reads it; a model that was not taught to think does not."""
    if not writes(model.learner, declared.tasks.get(model.task)):
        return {}
    found = _section(declared, ("models", name, "generation"), model.generation or {})
    training = merge(declared.defaults["training"], model.training or {})
    return {**found, "thinking": bool(found["thinking"] and training["thinking"])}


def _prompt(declared: Project, task: Task, labels: Sequence[str] | None) -> dict[str, Any]:
    """What an LLM is shown and asked, under `prompt`; nothing for a task without a prompt."""
    if task.prompt not in declared.prompts:
        return {}
    prompt = declared.prompts[task.prompt].model_dump()
    prompt["answers"] = prompt["answers"] or {label: label for label in labels or []}
    shown = prompt.pop("dimensions") or {}
    if task.kind == "scoring":
        prompt["values"] = {"dimension": {**(task.dimensions or {}), **shown}}
    else:
        del prompt["reason"]
    return {"prompt": prompt}


def _scoring(task: Task) -> dict[str, Any]:
    """What a task says of reasoning and scores, where it does."""
    said = {"reasoning": task.reasoning or None, "scores": task.scores, "dimensions": task.dimensions}
    return {key: value for key, value in said.items() if value is not None}
