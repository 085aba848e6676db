"""Kind `scoring` in the report: each dimension, what is taken for what, the distribution, consistency, worst errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from retune.evaluation import confusion_svg
from retune.report import charts, reasoning
from retune.report.charts import Line, Style
from retune.report.comparison_words import leaders
from retune.report.figures import Figure, points, styles
from retune.report.files import read_json, read_table
from retune.report.inputs import Model, Task
from retune.report.provenance import SplitRows
from retune.report.words import count, number

LEADING = ("mae", "spearman")
COMPARED = ("mae", "spearman", "bin_accuracy")
CONSTANT_BASELINE, OVER_BASELINE = "training mean of the dimension", "mae"
WINS = ("Rows first nearer", "Rows second nearer", "Same rounded score")
SECTIONS = [("dimensions", "Dimensions"), ("scores", "Scores"), ("consistency", "Consistency")]
DISPUTED = 30  # rows shown


def tile(split: SplitRows) -> str:
    """The test split in a few words."""
    dimensions = {target.rpartition(":")[0] for target in split.targets}
    return f"{len(dimensions)} dimension{'s' if len(dimensions) != 1 else ''}, {count(split.groups)} groups"


def split_columns(split: SplitRows) -> list[tuple[str, str]]:
    """How many dimensions the rows have, and their mean score."""
    parts = [(*target.rpartition(":")[::2], rows) for target, rows in split.targets.items()]
    mean = sum(float(score) * rows for _, score, rows in parts) / max(sum(rows for _, _, rows in parts), 1)
    return [("Dimensions", count(len({name for name, _, _ in parts}))), ("Mean score", number(mean, 2))]


def read(folder: Path) -> dict[str, Any]:
    """The dimensions, confusions, errors, curves, consistency and reasons of one model."""
    details = folder / "details"
    return {
        "dimensions": read_table(details / "dimensions.csv"),
        "confusion": read_table(details / "confusion.csv"),
        "errors": read_table(details / "errors.parquet"),
        "consistency": read_json(details / "consistency.json"),
        "estimates": read_json(details / "estimates.json", default={}),
        "gold_by_estimate": read_table(folder / "plots/gold_by_estimate.csv"),
        "distribution": read_table(folder / "plots/score_distribution.csv"),
        **reasoning.read(folder),
    }


def view(task: Task) -> dict[str, Any]:
    """Dimensions of all models, confusions, distribution and consistency of each, errors of each, disputed rows."""
    return {
        "dimensions": dimensions(task),
        "matrices": [(model, matrix(task, model)) for model in task.models],
        "distributions": [distribution(task, model) for model in task.models],
        "estimates": [(model, model.details["estimates"]) for model in task.models if model.details["estimates"]],
        "compared": COMPARED,
        "by_estimate": [by_estimate(task, model) for model in task.models],
        "consistency": [(model, model.details["consistency"]) for model in task.models],
        "sampled": [model for model in task.models if model.details["consistency"]["repeats"]],
        "errors": {model.name: model.details["errors"].to_dicts() for model in task.models},
        "disputed": disputed(task),
        "titles": dict(task.spec.dimensions),
    }


def dimensions(task: Task) -> list[dict[str, Any]]:
    """A row for each dimension: dimension, rows, level, constant_mae, and (mae, spearman, best) of each model."""
    tables = [model.details["dimensions"] for model in task.models]
    rows = []
    for place, row in enumerate(tables[0].iter_rows(named=True)):
        errors = {m.name: table["mae"][place] for m, table in zip(task.models, tables, strict=True)}
        beating = {name for name, mae in errors.items() if mae < row["constant_mae"]}
        best = leaders({name: -mae for name, mae in errors.items()}, beating)
        found = [
            (mae, table["spearman"][place], name in best)
            for (name, mae), table in zip(errors.items(), tables, strict=True)
        ]
        rows.append({**row, "found": found})
    return rows


def matrix(task: Task, model: Model) -> Figure:
    """Gold score against rounded estimate."""
    cells = model.details["confusion"].cast({"label": pl.String, "predicted": pl.String})
    svg = confusion_svg.matrix(cells, labels(task))
    caption = "Green: the right score; red: another one. The darker, the larger the share of the gold score's rows."
    return Figure(f"Gold and rounded scores of {model.name}", svg, caption)


def labels(task: Task) -> list[str]:
    """Every score as text, lowest first."""
    lowest, highest = task.spec.scores
    return [str(score) for score in range(lowest, highest + 1)]


def distribution(task: Task, model: Model) -> Figure:
    """How often each score is given, by the model and in the data."""
    table = model.details["distribution"]
    gold, own = Style(charts.NEUTRAL, (6, 3)), Style(styles(task)[model.name].color)
    both = [[(score, 100 * share) for score, share in table.select("x", name).iter_rows()] for name in ("gold", "y")]
    lines = [Line(part, style, (28.0,) * len(part)) for part, style in zip(both, (gold, own), strict=True)]
    svg = charts.curves(
        lines, f"Distribution of the scores of {model.name}", "Score", "% of the rows",
        unit=False, width=charts.SMALL, height=180,
    )  # fmt: skip
    return Figure(model.name, svg, keys=[("gold", gold), ("rounded estimates", own)])


def by_estimate(task: Task, model: Model) -> Figure:
    """Mean gold score of the rows by estimate, with what was fitted."""
    table = model.details["gold_by_estimate"]
    ends = [(part.min(), part.max()) for part in (table["x"], table["y"])] if len(table) else [(0.0, 0.0)]
    low, high = max(least for least, _ in ends), min(most for _, most in ends)
    total = max(table["rows"].sum(), 1)
    areas = tuple(12 + 260 * rows / total for rows in table["rows"].to_list())
    svg = charts.curves(
        [Line(points(table), Style(styles(task)[model.name].color, width=1.6), areas)],
        f"Gold score by estimate of {model.name}", "Estimate", "Mean gold score",
        unit=False, width=charts.SMALL, height=200, reference=[(low, low), (high, high)] if low < high else None,
    )  # fmt: skip
    fitted = model.calibration
    caption = ""
    if fitted["before"]["nll"] is not None:
        nll = [number(fitted[when]["nll"]) for when in ("before", "after")]
        caption = (
            f"Temperature {number(fitted['temperature'])}. Calibration rows, nats: {nll[0]} before, {nll[1]} after."
        )
    return Figure(model.name, svg, caption)


def disputed(task: Task) -> list[dict[str, Any]]:
    """The most disputed test rows: document, dimension, score, and the score by each model."""
    return [
        {key: row[key] for key in ("document", "dimension", "score")}
        | {"answers": [row[f"{model.name}.score"] for model in task.models]}
        for row in task.disagreements.head(DISPUTED).to_dicts()
    ]
