"""Test metric and training cost against the share of the training data (`tasks.TASK.data_ratio`), over experiments.

    dvc exp run --queue -S 'tasks.risk.data_ratio=0.2,0.4,0.6,0.8,1.0' && dvc queue start && retune curve risk

A point is one experiment's model. Only such are drawn together as differ in nothing but the ratio (and the seed): the
rest of what `resolve` wrote for the task and the model must be what the workspace has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retune import run_record
from retune.errors import RetuneError
from retune.params import RESOLVED, STATE

IGNORED = ("seed", "data_ratio")
"""Keys in which the points of a curve may differ."""


@dataclass(frozen=True)
class Point:
    """One model of one experiment: share of the training groups, training rows, test metric, cost of the training."""

    model: str
    experiment: str
    ratio: float
    seed: int
    value: float
    low: float | None
    high: float | None
    rows: int | None
    seconds: float | None


@dataclass(frozen=True)
class Curve:
    """The points of a task by model and ratio, and how many experiments were left out, being other variants."""

    task: str
    metric: str
    points: list[Point]
    left_out: int

    @property
    def models(self) -> list[str]:
        """The models that have points, in order."""
        return list(dict.fromkeys(point.model for point in self.points))


def read(task: str, metric: str | None, root: Path = Path()) -> Curve:
    """The points of the workspace and of all experiments that DVC lists; `metric`: default, the primary one.

    Raises `RetuneError` for an unknown task or metric, and where fewer than two ratios were measured.
    """
    here = _json((root / RESOLVED).read_text(encoding="utf-8")) if (root / RESOLVED).is_file() else {"tasks": {}}
    if task not in here["tasks"]:
        raise RetuneError(f"`{task}` is no task of {RESOLVED}; there are: {', '.join(here['tasks']) or 'none'}")
    points, left_out = [], 0
    for experiment, files in _experiments(root):
        resolved = files.read(str(RESOLVED))
        if resolved is None or task not in resolved["tasks"]:
            continue
        same = _same_models(task, resolved, here)
        left_out += len(same) < len(here["tasks"][task]["models"])
        found = [_point(task, model, experiment, resolved, files, metric, root) for model in same]
        points += [point for point in found if point]
    points = sorted({_place(p): p for p in points}.values(), key=_place)
    ratios = {point.ratio for point in points}
    if len(ratios) < 2:
        built = ", ".join(f"{ratio:g}" for ratio in ratios) or "none"
        raise RetuneError(
            f"a curve of `{task}` needs two values of data_ratio, and built is {built}: "
            f"dvc exp run --queue -S 'tasks.{task}.data_ratio=0.2,0.6,1.0' && dvc queue start"
        )
    return Curve(task, metric or _primary(here["tasks"][task]["kind"]), points, left_out)


def table(curve: Curve) -> str:
    """A line for each point: model, ratio, training rows, metric with its interval, seconds, seconds against all."""
    whole = {p.model: p.seconds for p in curve.points if p.ratio == max(q.ratio for q in curve.points)}
    lines = [["model", "ratio", "rows", f"test {curve.metric}", "interval", "training s", "of the most", "experiment"]]
    for point in curve.points:
        most = whole.get(point.model)
        lines.append(
            [
                point.model,
                f"{point.ratio:g}",
                _number(point.rows, "d"),
                f"{point.value:.4f}",
                "" if point.low is None or point.high is None else f"{point.low:.4f} to {point.high:.4f}",
                _number(point.seconds, ".1f"),
                f"{point.seconds / most:.0%}" if point.seconds and most else "",
                point.experiment,
            ]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if curve.left_out:
        text.append(
            f"{curve.left_out} experiments have models left out: they differ from the workspace in more than the ratio"
        )
    return "\n".join(text)


def draw(curve: Curve, root: Path = Path()) -> Path:
    """Write a page with the metric and the training seconds against the ratio; its path."""
    from retune.report import charts, curve_page
    from retune.report.figures import Figure

    styles = {model: charts.series_style(index, reference=False) for index, model in enumerate(curve.models)}
    figures = []
    for title, of in (
        (f"Test {curve.metric}", lambda point: point.value),
        ("Training, seconds", lambda point: point.seconds),
    ):
        lines = []
        for model, style in styles.items():
            points = [(p.ratio, float(of(p))) for p in curve.points if p.model == model and of(p) is not None]
            lines.append(charts.Line(points, style, (36.0,) * len(points)))
        svg = charts.curves(
            [line for line in lines if line.points],
            f"{title} against the share of the training data",
            "Share of the training groups",
            title,
            unit=False,
            height=230,
        )
        figures.append(Figure(title, svg))
    out = root / STATE / "curves" / f"{curve.task}.html"
    return curve_page.write(out, "Learning curve", curve.task, figures, table(curve), keys=list(styles.items()))


@dataclass(frozen=True)
class _Files:
    """The tracked files of one revision, outputs in DVC's cache included."""

    system: Any

    def read(self, path: str) -> dict[str, Any] | None:
        """A JSON file; None where this revision has none, or its content is not in the cache."""
        content = self.content(path)
        return None if content is None else _json(content.decode())

    def content(self, path: str) -> bytes | None:
        """The bytes of a file; None where there are none."""
        try:
            found: bytes = self.system.read_bytes(path)
        except FileNotFoundError:
            return None
        return found


def _experiments(root: Path) -> Iterator[tuple[str, _Files]]:
    """Name and files of the workspace, of HEAD and of each finished experiment derived from it."""
    import dvc.api

    yield "workspace", _Files(dvc.api.DVCFileSystem(str(root)))
    for row in dvc.api.exp_show(str(root)):
        if row["rev"] == "workspace" or row.get("State") in ("Queued", "Running", "Failed"):
            continue
        name = row["Experiment"] or row["rev"]
        yield name, _Files(dvc.api.DVCFileSystem(str(root), rev=name))


def _point(
    task: str, model: str, experiment: str, resolved: dict[str, Any], files: _Files, metric: str | None, root: Path
) -> Point | None:
    metrics = files.read(f"reports/metrics/{model}.json")
    if metrics is None:
        return None
    name = metric or _primary(resolved["tasks"][task]["kind"])
    measured = metrics["test"]
    found = measured.get(name)
    if not isinstance(found, dict):
        known = [key for key, value in measured.items() if isinstance(value, dict)]
        raise RetuneError(f"`{name}` is no metric of {model}; there are: {', '.join(known)}")
    record = f"reports/training/{model}"
    size = files.read(f"{record}/counts.json") or {}
    cost = run_record.read("train", model, files.content(f"{record}/metrics.json") or b"", root)
    return Point(
        model,
        experiment,
        float(resolved["tasks"][task]["split"]["data_ratio"]),
        int(resolved["models"][model].get("seed", 0)),
        found["value"],
        found["low"],
        found["high"],
        size.get("rows"),
        cost.get("training_seconds", cost.get("seconds")),
    )


def _same_models(task: str, resolved: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The models of a task that mean the same in both resolved files, but for what a curve varies."""
    if _fixed(resolved["tasks"][task]) != _fixed(here["tasks"][task]):
        return []
    models = resolved["models"], here["models"]
    return [m for m in here["tasks"][task]["models"] if m in models[0] and _fixed(models[0][m]) == _fixed(models[1][m])]


def _fixed(spec: Any) -> Any:
    """A resolved section without what the points of a curve may differ in."""
    if isinstance(spec, dict):
        return {key: _fixed(value) for key, value in spec.items() if key not in IGNORED}
    return spec


def _place(point: Point) -> tuple[str, float, int]:
    return point.model, point.ratio, point.seed


def _primary(kind: str) -> str:
    from retune.data import kinds

    return str(kinds.of(kind).PRIMARY)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _json(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text)
    return loaded
