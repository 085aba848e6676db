"""Teachers of models: whether there is one, whether it can teach, and whether the model can learn from it."""

from __future__ import annotations

from typing import Any

from retune.errors import unknown
from retune.pipeline import effective, teachers
from retune.pipeline.declarations import Project
from retune.pipeline.schema.params import Model

WITHOUT_CHANCES = ("bm25",)
"""Learners whose answers are no calibrated chances of anything."""


def check(project: Project, resolved: dict[str, Any]) -> None:
    """Note in params.yaml teachers that can't be, models that can't be taught, and keys that have no meaning there."""
    for name, model in project.models.items():
        if model.teacher is not None and resolved["models"][name]["kind"]:
            _check_teacher(project, name, model, resolved["models"])
            _check_student(project, name, resolved["models"][name])
            _check_keys(project, name, model, resolved["models"][name])


def _check_teacher(project: Project, name: str, model: Model, models: dict[str, Any]) -> None:
    declared = teachers.of(model)
    assert declared is not None
    at: tuple[str, ...] = ("models", name, "teacher")
    at = at if isinstance(model.teacher, str) else (*at, "model")
    teacher, problem = declared.model, project.params.problem
    if teacher == name:
        problem(at, "is the model itself; name another model of the task, or take it out")
        return
    if teacher not in project.models:
        others = [other for other in project.models if other != name and project.models[other].task == model.task]
        problem(at, unknown("model", teacher, others, f" of task {model.task} (a seed's or a mean is none)"))
        return
    if (task := project.models[teacher].task) != model.task:
        problem(at, f"`{teacher}` is a model of task {task}, and {name} of task {model.task}: name one of {model.task}")
        return
    if models[teacher]["kind"] and effective.package(models[teacher]) in WITHOUT_CHANCES:
        problem(at, f"`{teacher}` counts words, and its scores are no probabilities; name a model that is trained")
    ring = _ring(project, name)
    if ring and ring[0] == min(ring):  # said once
        problem(at, f"is a circle: {' learns from '.join([*ring, ring[0]])}; take one of these out")


def _ring(project: Project, name: str) -> list[str]:
    """The models from `name` along their teachers back to it; empty where they lead elsewhere."""
    found = [name]
    while (model := project.models.get(found[-1])) and (teacher := teachers.of(model)):
        if teacher.model == name:
            return found
        if teacher.model in found:
            return []
        found.append(teacher.model)
    return []


def _check_student(project: Project, name: str, spec: dict[str, Any]) -> None:
    problem, at = project.params.problem, ("models", name, "teacher")
    if effective.package(spec) not in effective.TAUGHT:
        of_kind = f" of kind {spec['kind']}" if spec["kind"] in ("ranking", "scoring") else ""
        text = f"the learner {spec['learner']}{of_kind} can't learn from a teacher; these can: "
        problem(at, f"{text}{effective.readers(effective.TAUGHT)}; take it out")
    elif spec.get("training", {}).get("epochs") == 0:
        problem(at, "has nothing to teach: nothing is trained (epochs 0); take it out")


def _check_keys(project: Project, name: str, model: Model, spec: dict[str, Any]) -> None:
    if isinstance(model.teacher, str):
        return
    said, at = project.said("models", name, "teacher"), ("models", name, "teacher")
    if "temperature" in said and spec["kind"] in ("ranking", "scoring"):
        what = "relevances" if spec["kind"] == "ranking" else "expected scores"
        text = f"softens probabilities of labels, and of kind {spec['kind']} {what} are learned; take it out"
        project.params.problem((*at, "temperature"), text)
    source = project.sources.get(project.tasks[model.task].source)
    if said.get("unlabelled_rows") is not None and source and not source.unlabelled:
        text = f"{project.tasks[model.task].source} has no `unlabelled` files in data/catalog.yaml; take it out"
        project.params.problem((*at, "unlabelled_rows"), text)
