"""What the report shows of models that keep answers back: what they promised and kept, and their errors."""

from __future__ import annotations

from typing import Any

from retune.report import charts
from retune.report.charts import Line
from retune.report.figures import Figure, points, styles
from retune.report.inputs import Model, Task
from retune.report.words import number, share

BAND = (1, 3)
"""How the ends of an interval are dashed."""


def view(task: Task) -> dict[str, Any] | None:
    """What abstention.html shows; None for a task whose models always answer."""
    models = [model for model in task.models if model.abstention]
    if not models:
        return None
    return {
        "models": [(model, promised(model), model.abstention["metrics"]) for model in models],
        "none": any("none_below" in model.calibration for model in models),
        "curves": [curve(task, model) for model in models],
    }


def promised(model: Model) -> str:
    """What the task asks for, in words."""
    asked = model.calibration["abstention"]["promised"]
    said = []
    if "coverage" in asked:
        said.append(f"{share(asked['coverage'], 1)} answered")
    if "error" in asked:
        said.append(f"at most {share(asked['error'], 1)} wrong, confidence {asked['confidence']:g}")
    if "none_of_these" in asked:
        said.append(f"{share(asked['none_of_these'], 1)} falsely of none")
    return "; ".join(said)


def curve(task: Task, model: Model) -> Figure:
    """The error of the answered rows against the share that is answered, the surest first, with its interval."""
    table, found = model.abstention["curve"], model.abstention["metrics"]
    style = styles(task)[model.name]
    ends = [
        Line(points(table.select("x", y=end).drop_nulls()), charts.Style(charts.NEUTRAL, BAND, 1.2))
        for end in ("low", "high")
    ]
    at = (found["coverage"]["value"], found["error"]["value"])
    line = Line(points(table.drop_nulls("y")), style, marks=() if at[1] is None else (at,))
    svg = charts.curves([*ends, line], f"Risk and coverage of {model.name}", "Share answered", "Error", height=240)
    caption = (
        f"Dot: at the threshold, {number(model.calibration['abstain_below'])}. Dotted: {task.percent} interval."
        if at[1] is not None
        else f"At the threshold nothing is answered. Dotted: {task.percent} interval."
    )
    return Figure(model.name, svg, caption)
