"""Kind `classification` in the report: each class, the confusion matrix, confused pairs, reliability, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from retune.evaluation import confusion_svg
from retune.report import charts
from retune.report.charts import Line
from retune.report.comparison_words import leaders
from retune.report.figures import Figure, points, reliability_figure, styles
from retune.report.files import read_json_lines, read_table
from retune.report.inputs import Model, Task
from retune.report.provenance import SplitRows
from retune.report.words import count, number, share

LEADING = ("macro_f1", "accuracy")
COMPARED = ("macro_f1", "accuracy", "tail_f1")
CONSTANT_BASELINE, OVER_BASELINE = "majority class", "accuracy"
WINS = ("Only first right", "Only second right", "Same decision")
SECTIONS = [("classes", "Classes"), ("confusions", "Confusions"), ("calibration", "Calibration")]
DISPUTED = 30  # rows shown
PAIRS = 15  # confused pairs shown of each model


def tile(split: SplitRows) -> str:
    """The test split in a few words."""
    return f"{len(split.targets)} labels, {count(split.groups)} groups"


def split_columns(split: SplitRows) -> list[tuple[str, str]]:
    """How the labels are spread."""
    sizes = sorted(split.targets.values())
    if not sizes:
        return [("Labels", "0"), ("Rows of the largest", "0"), ("Of the smallest", "0")]
    largest = f"{count(sizes[-1])} ({share(sizes[-1], split.rows)})"
    return [("Labels", count(len(sizes))), ("Rows of the largest", largest), ("Of the smallest", count(sizes[0]))]


def read(folder: Path) -> dict[str, Any]:
    """The classes, confusions, errors and curves of one model."""
    details = folder / "details"
    return {
        "classes": read_table(details / "classes.csv"),
        "confusion": read_table(details / "confusion.csv"),
        "errors": read_table(details / "errors.parquet"),
        "wrong": len(read_json_lines(details / "error_predictions.jsonl")),
        "failed": read_json_lines(details / "failed_predictions.jsonl"),
        "uncalibrated": read_table(details / "reliability_uncalibrated.csv"),
        "reliability": read_table(folder / "plots/reliability.csv"),
        "top_k": read_table(folder / "plots/top_k_accuracy.csv"),
    }


def view(task: Task) -> dict[str, Any]:
    """Classes of all models, confusions and reliability of each, errors of each, and disputed rows."""
    return {
        "classes": classes(task),
        "top_k": top_k(task),
        "matrices": [(m, matrix(task, m), confused_pairs(m)) for m in task.models],
        "reliability": [reliability(task, model) for model in task.models],
        "errors": {model.name: model.details["errors"].to_dicts() for model in task.models},
        "disputed": disputed(task),
    }


def classes(task: Task) -> list[dict[str, Any]]:
    """A row for each label, by training rows: label, third, train, rows, (precision, recall, F1, best) of models."""
    tables = [model.details["classes"].sort("train", descending=True, maintain_order=True) for model in task.models]
    rows = []
    for place, row in enumerate(tables[0].iter_rows(named=True)):
        found = {m.name: table.row(place, named=True) for m, table in zip(task.models, tables, strict=True)}
        f1 = {name: one["f1"] for name, one in found.items() if one["f1"] is not None}
        best = leaders(f1, {name for name, value in f1.items() if value > row["constant_f1"]})
        scores = [(one["precision"], one["recall"], one["f1"], name in best) for name, one in found.items()]
        rows.append({**row, "scores": scores})
    return rows


def top_k(task: Task) -> Figure:
    """Share of the rows whose label is among the k likeliest."""
    style = styles(task)
    lines = [Line(points(m.details["top_k"]), style[m.name], (28.0,) * len(m.details["top_k"])) for m in task.models]
    svg = charts.curves(lines, "Accuracy of the k likeliest labels", "k", "Share of the rows", unit=False, height=240)
    return Figure("Right among the k likeliest", svg, "How often the gold label is among the k likeliest labels.")


def matrix(task: Task, model: Model) -> Figure:
    """The confusion matrix of one model."""
    svg = confusion_svg.matrix(model.details["confusion"], task.spec.labels)
    caption = "Green: right; red: mistaken. The darker, the larger the share of the gold label's rows."
    return Figure(f"Confusion matrix of {model.name}", svg, caption)


def confused_pairs(model: Model) -> list[dict[str, Any]]:
    """The most frequent mistakes: label, predicted, rows, share of the label's rows."""
    cells = model.details["confusion"].filter(
        pl.col("predicted").is_not_null() & (pl.col("label") != pl.col("predicted"))
    )
    return (
        cells.sort("rows", "share", "label", "predicted", descending=[True, True, False, False]).head(PAIRS).to_dicts()
    )


def reliability(task: Task, model: Model) -> Figure:
    """Stated confidence against observed accuracy on the test rows, before and after the temperature."""
    fitted = model.calibration
    raw = model.details["uncalibrated"] if fitted["temperature"] != 1 else None
    errors = [number(fitted[when]["calibration_error"]) for when in ("before", "after")]
    caption = (
        f"Temperature {number(fitted['temperature'])}. "
        f"Calibration error on the calibration rows: {errors[0]} before, {errors[1]} after."
    )
    return reliability_figure(styles(task)[model.name], model.name, raw, model.details["reliability"], caption)


def disputed(task: Task) -> list[dict[str, Any]]:
    """The most disputed test rows: text, label, and (label, confidence) of each model."""
    labels = task.spec.labels

    def answer(row: dict[str, Any], name: str) -> tuple[str | None, float | None]:
        code = row[f"{name}.decision"]
        return (None if code is None else labels[code]), row[f"{name}.confidence"]

    return [
        {"text": row["text"], "label": row["label"], "answers": [answer(row, m.name) for m in task.models]}
        for row in task.disagreements.head(DISPUTED).to_dicts()
    ]
