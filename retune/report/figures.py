"""Which of a task's numbers go into which chart."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import polars as pl

from retune.report import charts
from retune.report.charts import Interval, Line, Style
from retune.report.comparison_words import ranked
from retune.report.inputs import Model, Task
from retune.report.words import METRICS, SPACE, interval, metric, number

DOT, DOTTED = 28.0, 40
"""Area of a dot on a training curve, and how many points still get one."""


@dataclass(frozen=True)
class Figure:
    """A chart with its title, the text below it, and the keys of its own series."""

    title: str
    svg: str
    caption: str = ""
    keys: list[tuple[str, Style]] = field(default_factory=list)


def styles(task: Task) -> dict[str, Style]:
    """The colour and dash of each model, the same in every chart."""
    tuned, reference = count(), count()
    return {m.name: charts.series_style(next(reference if m.role else tuned), bool(m.role)) for m in task.systems}


def forests(task: Task) -> list[Figure]:
    """The leading metrics of every model with their intervals, best first."""
    found, style = [], styles(task)
    for key in task.kind.LEADING:
        rows = [row for model in ranked(task, key) if (row := _interval(model, key, style[model.name]))]
        if rows:
            shown = metric(key)
            label = f"{shown.name} of each model with its {task.percent} interval"
            reference = (task.comparison["ignorant"].get(key) or {}).get("value")
            caption = f"{shown.meaning[0].upper()}{shown.meaning[1:]}."
            found.append(
                Figure(f"{shown.name}, {task.percent} interval", charts.forest(rows, label, reference), caption)
            )
    return found


def _interval(model: Model, key: str, style: Style) -> Interval | None:
    found = model.metrics.get(key, {})
    value, low, high = (found.get(part) for part in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return None
    return Interval(model.name, value, low, high, style, f"{number(value)} ({interval(low, high)})")


def training(task: Task, model: Model) -> list[Figure]:
    """Loss, and dev metrics, by step; none for a model that wasn't trained in steps."""
    color, gray = Style(styles(task)[model.name].color), charts.NEUTRAL
    losses = [
        ("train", model.curve("train/loss", "loss"), Style(gray)),
        ("dev", model.curve("dev/loss"), color),
    ]
    measured = sorted((n for n in METRICS if model.curve(f"dev/{n}")), key=lambda n: n != model.select)
    drawn_as = (color, Style(gray, (6, 3)), Style(gray, (2, 2)))
    metrics = [
        (metric(name).name, model.curve(f"dev/{name}"), style)
        for name, style in zip(measured, drawn_as, strict=False)  # three lines are enough
    ]
    figures = [
        _by_step(f"Loss of {model.name}", "Loss", losses, model),
        _by_step(f"Metrics of {model.name} on dev", "Metrics on dev", metrics, model),
    ]
    return [figure for figure in figures if figure]


def _by_step(
    label: str, title: str, series: list[tuple[str, list[charts.Point], Style]], model: Model
) -> Figure | None:
    drawn = [(name, points, style) for name, points, style in series if len(points) > 1]
    if not drawn:
        return None
    lines = [Line(points, style, (DOT,) * len(points) if len(points) < DOTTED else ()) for _, points, style in drawn]
    step = model.chosen[0] if model.chosen else None
    svg = charts.curves(lines, f"{label} by step", "Step", title, unit=False, height=190, rule=step)
    return Figure(title, svg, keys=[(name, style) for name, _, style in drawn])


def chosen_step(model: Model) -> str:
    """Which evaluation gave the weights, in words; empty where there was none."""
    if model.chosen is None:
        return ""
    step, value = model.chosen
    name = "loss" if model.select == "loss" else metric(model.select).name
    if len(model.curve(f"dev/{model.select}")) == 1:
        return f"Dev {name}: {number(value)}."
    if model.spec.training.get("checkpoint", "best") != "best":
        return f"Dashed line: step{SPACE}{step:g}, as training.checkpoint says, dev {name} {number(value)}."
    if model.stages:
        return f"Dashed line: step{SPACE}{step:g}, which the last stage kept, dev {name} {number(value)}."
    return f"Dashed line: step{SPACE}{step:g}, kept for the best dev {name}, {number(value)}."


def points(table: pl.DataFrame) -> list[charts.Point]:
    """The columns x and y of a table."""
    return list(zip(table["x"].to_list(), table["y"].to_list(), strict=True))


def reliability_figure(style: Style, name: str, raw: pl.DataFrame | None, table: pl.DataFrame, caption: str) -> Figure:
    """The reliability diagram of one model; `raw` is the table before the temperature, or None."""
    before, after = Style(charts.NEUTRAL, (3, 2), 1.2), Style(style.color, width=1.6)
    lines = [Line(points(raw), before, _areas(raw))] if raw is not None else []
    lines.append(Line(points(table), after, _areas(table)))
    svg = charts.curves(
        lines,
        f"Reliability of {name}",
        "Mean predicted probability",
        "Observed share",
        width=charts.SMALL,
        height=200,
        reference=[(0, 0), (1, 1)],
    )
    keys = [("before", before), ("after temperature", after)] if raw is not None else []
    return Figure(name, svg, caption, keys)


def _areas(table: pl.DataFrame) -> tuple[float, ...]:
    """Dots whose area shows the share of the rows that a bin holds."""
    total = table["rows"].sum()
    return tuple(12 + 260 * rows / total for rows in table["rows"].to_list())
