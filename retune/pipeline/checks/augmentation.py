"""What can't be done to the rows of a task: methods of augmentation and balance that its kind or labels rule out."""

from __future__ import annotations

from typing import Any

from retune.errors import unknown
from retune.pipeline.declarations import Project
from retune.pipeline.effective import METHODS, is_on


def check(project: Project, name: str, task: dict[str, Any]) -> None:
    """Note in params.yaml what task `name` can't have; `task` is its resolved section."""
    kind, labels, augmentation = task["kind"], task.get("labels"), task["augmentation"]
    own = project.said("tasks", name, "augmentation")

    def problem(section: str, key: str, text: str) -> None:
        project.params.problem(("tasks", name, section, key), text)

    for method in METHODS:
        shares = augmentation.get(method)
        if not isinstance(shares, dict) or not shares:
            continue
        if not labels:
            problem("augmentation", method, f"kind {kind} has no labels; give one share of all rows, such as 0.2")
        elif method in own:
            for label in shares:
                if label not in labels:
                    project.params.problem(
                        ("tasks", name, "augmentation", method, label),
                        unknown("label", label, labels, f" of task {name}"),
                    )


def adds(task: dict[str, Any]) -> bool:
    """Whether a resolved task gets rows that `augmented: false` leaves out."""
    augmentation = task["augmentation"]
    return any(is_on(augmentation.get(method)) for method in METHODS) or task["split"].get("balance") == "oversample"
