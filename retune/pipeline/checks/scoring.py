"""What a task that scores or reasons must say, and what no other kind of task may."""

from __future__ import annotations

import re

from retune.errors import unknown
from retune.pipeline.declarations import DATA, Project
from retune.pipeline.schema.params import Task, reasons

MOST = 200
"""Scores; the LLM weighs each of them as an answer."""

NAME = re.compile(r"[A-Za-z0-9_\-]+")


def scores(task: Task) -> list[str]:
    """The scores of a task of kind scoring as texts, lowest first; empty where it has none, or too many."""
    if task.kind != "scoring" or task.scores is None or len(task.scores) != 2:
        return []
    lowest, highest = task.scores
    return [str(score) for score in range(lowest, highest + 1)] if highest - lowest < MOST else []


def check(project: Project, name: str) -> None:
    """Note in the documents what does not fit the kind of task `name`."""
    task = project.tasks[name]
    _check_reasoning(project, name, task)
    _check_judge(project, name, task)
    _check_scores(project, name, task)
    _check_prompt(project, name, task)


def _check_prompt(project: Project, name: str, task: Task) -> None:
    prompt = project.prompts.get(task.prompt or "")
    if prompt is None:
        return
    problem = project.documents[f"prompts/{task.prompt}.yaml"].problem
    for key, what in (("reason", "a reason"), ("dimensions", "dimensions")):
        if getattr(prompt, key) is not None and task.kind != "scoring":
            problem(
                (key,), f"only rows of kind scoring have {what}, and task {name} is of kind {task.kind}; take it out"
            )
    for dimension, text in (prompt.dimensions or {}).items():
        if task.dimensions and dimension not in task.dimensions:
            text = unknown("dimension", dimension, task.dimensions, f" of task {name}")
            problem(("dimensions", dimension), text)
        elif not text.strip():
            problem(("dimensions", dimension), "is empty, so a model would not see which dimension is meant")


def _check_reasoning(project: Project, name: str, task: Task) -> None:
    if not task.reasoning:
        return
    at = ("tasks", name, "reasoning")
    if task.kind != "pair":
        what = "its rows may have reasoning as it is" if task.kind == "scoring" else "its rows have no reasoning"
        project.params.problem(at, f"is for kind pair, and {name} is of kind {task.kind}: {what}; take it out")
        return
    for method in ("swap", "transitive"):
        if method in task.augmentation:
            text = "the reasoning of a row speaks of its first and second text; take it out"
            project.params.problem(("tasks", name, "augmentation", method), text)
    source = project.sources.get(task.source)
    for number, table in enumerate(source.tables if source else ()):
        if "reasoning" not in table.columns and table.split not in ("calibration", "test"):
            text = f"has no `reasoning`, which task {name} needs with `reasoning: true`"
            project.documents[DATA].problem((task.source, "tables", str(number), "columns"), text)


def _check_judge(project: Project, name: str, task: Task) -> None:
    """A default judge grades the tasks that have reasons; what a task says itself must have something to grade."""
    if "judge" in task.evaluation and not reasons(task):
        text = (
            f"grades reasons, and the rows of {name} (kind {task.kind}) have none; kind scoring has them, and kind "
            "pair with `reasoning: true`; take it out"
        )
        project.params.problem(("tasks", name, "evaluation", "judge"), text)


def _check_scores(project: Project, name: str, task: Task) -> None:
    problem, at = project.params.problem, ("tasks", name)
    for key in ("scores", "dimensions"):
        said = getattr(task, key) is not None
        if said and task.kind != "scoring":
            problem((*at, key), f"only kind scoring has {key}, and {name} is of kind {task.kind}; take it out")
        elif not said and task.kind == "scoring":
            example = "[1, 10], the lowest and the highest" if key == "scores" else "{innovation: 创新性}"
            problem(at, f"kind scoring needs `{key}`, such as {example}")
    if task.kind != "scoring":
        return
    if task.scores is not None:
        lowest, highest = task.scores
        if lowest >= highest:
            problem((*at, "scores"), f"is [{lowest}, {highest}]; the first must be below the second")
        elif highest - lowest >= MOST:
            problem((*at, "scores"), f"has {highest - lowest + 1:,} scores; at most {MOST} are possible")
    texts = list((task.dimensions or {}).values())
    for dimension, text in (task.dimensions or {}).items():
        if not NAME.fullmatch(dimension):
            problem((*at, "dimensions", dimension), "is no name: letters, digits, _ and - only")
        if not text.strip():
            problem((*at, "dimensions", dimension), "is empty, so a model would not see which dimension is meant")
        elif texts.count(text) > 1:
            problem((*at, "dimensions", dimension), f"`{text}` is the text of more than one; make them differ")
    _check_bins(project, name, task)


def _check_bins(project: Project, name: str, task: Task) -> None:
    """Bins must ascend and begin inside the scores; those of the default section as well."""
    own = "bins" in task.evaluation
    bins = task.evaluation["bins"] if own else project.defaults["evaluation"].model_dump()["bins"]
    if not bins or task.scores is None or not all(isinstance(start, int) for start in bins):
        return
    at = ("tasks", name, "evaluation", "bins") if own else ("evaluation", "bins")
    lowest, highest = task.scores
    if list(bins) != sorted(set(bins)):
        project.params.problem(at, f"is {bins}; the scores at which bins begin must ascend")
    elif bins[0] <= lowest or bins[-1] > highest:
        inside = f"{lowest + 1} to {highest}"
        project.params.problem(at, f"is {bins}; with the scores of task {name} a bin may begin at {inside}")
