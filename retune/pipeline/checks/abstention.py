"""Which tasks may keep answers to themselves."""

from __future__ import annotations

from retune.pipeline.declarations import Project

KINDS = ("classification", "pair")
"""Kinds whose models decide a label, with a probability."""


def check(project: Project, name: str) -> None:
    """Note `abstain` where the task's kind has no label that could be kept back, or no label that could be missing."""
    task = project.tasks[name]
    if task.abstain is None:
        return
    at, problem = ("tasks", name, "abstain"), project.params.problem
    if task.kind not in KINDS:
        text = f"is for kinds {' and '.join(KINDS)}, whose models decide a label; {name} is of kind {task.kind}"
        problem(at, f"{text}: take it out")
    elif task.abstain.none_of_these is not None and task.kind != "classification":
        text = f"is for kind classification, where a text may have another label; {name} is of kind {task.kind}"
        problem((*at, "none_of_these"), f"{text}: take it out")
