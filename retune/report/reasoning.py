"""What the report shows of models that think and give reasons: readings, lengths, speed, repeats, rationale quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retune.report.comparison_words import Difference
from retune.report.files import read_json
from retune.report.inputs import Model, Task

READINGS = {
    "after_reasoning": "probability after the reasoning (the decision)",
    "generated": "generated answer",
    "direct": "probability without thinking",
}
GRADED = ("coherence", "terms", "sufficiency", "specificity")
RATIONALE = (*GRADED, "unsupported")
SIDES = ("generated", "gold")
FILES = ("readings", "rationale", "judge", "repeats")


def read(folder: Path) -> dict[str, Any]:
    """Readings, quality of the reasons and repeated samples of one model, as far as the stage evaluate wrote them."""
    return {name: read_json(folder / f"details/{name}.json", default={}) for name in FILES}


def view(task: Task) -> dict[str, Any] | None:
    """What reasoning.html shows; None for a task whose models give no reasons."""
    thinking = [model for model in task.models if model.details.get("readings")]
    writing = [model for model in task.models if model.details.get("rationale")]
    sampled = [model for model in task.models if model.details.get("repeats")]
    if not (thinking or writing or sampled):
        return None
    return {
        "metrics": list(task.kind.COMPARED),
        "names": READINGS,
        "readings": [(model, differences(model, task.kind.COMPARED)) for model in thinking],
        "rationale": [(model, columns(model), model.details["rationale"]) for model in writing],
        "rationale_metrics": RATIONALE,
        "judged": [(model, judged(model), model.details["judge"]) for model in writing if model.details.get("judge")],
        "grades": GRADED,
        "repeats": sampled,
    }


def differences(model: Model, metrics: tuple[str, ...]) -> list[Difference]:
    """The decision minus the reading without thinking."""
    found = model.details["readings"]["difference"]
    return [
        Difference(key, *(found[key][part] for part in ("difference", "low", "high", "p", "at_most")))
        for key in metrics
    ]


def columns(model: Model) -> list[tuple[str, dict[str, Any]]]:
    """Whose reasons are measured: the generated ones, and the gold ones where the rows have them."""
    found = model.details["rationale"]
    return [(name, found[name]) for name in SIDES if name in found]


def judged(model: Model) -> list[tuple[str, dict[str, Any]]]:
    """Whose reasons a judge was asked to grade."""
    found = model.details["judge"]
    return [(name, found[name]) for name in SIDES if name in found]
