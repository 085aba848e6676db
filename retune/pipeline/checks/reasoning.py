"""What a model that reasons, or is trained by a curriculum, may say; and what no other model may."""

from __future__ import annotations

from typing import Any

from retune.errors import unknown
from retune.pipeline.declarations import Project
from retune.pipeline.schema.params import Model, writes


def check(project: Project, name: str, model: Model, spec: dict[str, Any]) -> None:
    """Note in params.yaml what does not fit together of model `name`; `spec` is its resolved section."""
    task = project.tasks.get(model.task)
    if task is None:
        return
    problem, at = project.params.problem, ("models", name)
    own, asked = model.training or {}, model.generation or {}
    if not writes(model.learner, task):
        why = (
            f"{name} is of learner {model.learner}" if model.learner != "llm" else f"task {model.task} has no reasoning"
        )
        if model.generation is not None:
            problem((*at, "generation"), f"is for llms of tasks with reasoning, and {why}; take it out")
        for key in {"thinking", "answer_weight"} & set(own):
            problem((*at, "training", key), f"is for llms of tasks with reasoning, and {why}; take it out")
    else:
        _check_thinking(project, at, own, asked, spec)
    if task.kind != "scoring" or model.learner != "llm":
        for key in ("curriculum", "dimensions"):
            if getattr(model, key) is not None:
                problem((*at, key), "is for llms of kind scoring; take it out")
    else:
        _check_dimensions(project, at, model, list(task.dimensions or {}))
        _check_curriculum(project, at, model, spec)


def _check_thinking(
    project: Project, at: tuple[str, ...], own: dict[str, Any], asked: dict[str, Any], spec: Any
) -> None:
    problem, thinks = project.params.problem, spec["training"].get("thinking", False)
    if asked.get("thinking") and not thinks:
        text = "is true, but training.thinking is false: this model is not taught to think; make them agree"
        problem((*at, "generation", "thinking"), text)
    if thinks and spec["training"]["select"] != "loss":
        text = f"is {spec['training']['select']}, but an llm that thinks is measured on dev by loss; take loss or auto"
        problem((*at, "training", "select"), text)
    both = {**project.defaults["generation"].model_dump(), **asked}
    if "samples" in asked and asked["samples"] and not both["sample_rows"]:
        problem((*at, "generation", "samples"), "has no rows to be drawn for; give generation.sample_rows")
    if "sample_rows" in asked and asked["sample_rows"] and not both["samples"]:
        problem(
            (*at, "generation", "sample_rows"), "is not read without generation.samples; give the number of answers"
        )
    if asked.get("samples") and not (thinks and both["thinking"]):
        problem((*at, "generation", "samples"), "nothing is generated without thinking; take it out")


def _check_dimensions(project: Project, at: tuple[str, ...], model: Model, known: list[str]) -> None:
    lists: dict[tuple[str, ...], tuple[list[str], list[str]]] = {("dimensions",): (model.dimensions or [], known)}
    for place, stage in enumerate(model.curriculum or []):
        lists["curriculum", str(place), "dimensions"] = (stage.dimensions, model.dimensions or known)
    for keys, (dimensions, allowed) in lists.items():
        for place, dimension in enumerate(dimensions):
            where = (*at, *keys, str(place))
            if dimension not in known:
                project.params.problem(where, unknown("dimension", dimension, known, f" in task {model.task}"))
            elif dimension not in allowed:
                project.params.problem(where, f"`{dimension}` is not among the `dimensions` of the model")
            elif dimension in dimensions[:place]:
                project.params.problem(where, f"`{dimension}` occurs twice")


def _check_curriculum(project: Project, at: tuple[str, ...], model: Model, spec: dict[str, Any]) -> None:
    problem, own = project.params.problem, model.training or {}
    if not model.curriculum:
        return
    names = [stage.name for stage in model.curriculum]
    for place, stage in enumerate(names):
        if stage in names[:place]:
            problem((*at, "curriculum", str(place), "name"), f"`{stage}` is the name of two stages; make them differ")
    if "epochs" in own:
        problem((*at, "training", "epochs"), "is not read: each stage of the curriculum has its own; take it out")
    if spec["training"]["checkpoint"] != "best":
        text = (
            f"is {spec['training']['checkpoint']}, but each stage of a curriculum begins at the best one; take `best`"
        )
        problem((*at, "training", "checkpoint"), text)
