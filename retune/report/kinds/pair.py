"""Kind `pair` in the report: ROC, precision and recall, threshold, reliability, errors of both sorts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retune.report import charts, reasoning
from retune.report.charts import Line
from retune.report.figures import Figure, points, reliability_figure, styles
from retune.report.files import read_json, read_table
from retune.report.inputs import Model, Task
from retune.report.provenance import SplitRows
from retune.report.words import count, number, share

LEADING = ("f1", "auc")
COMPARED = ("f1", "auc", "accuracy")
CONSTANT_BASELINE, OVER_BASELINE = "majority class", "accuracy"
WINS = ("Only first right", "Only second right", "Same decision")
SECTIONS = [("curves", "Curves"), ("calibration", "Calibration")]
DISPUTED = 30  # rows shown


def tile(split: SplitRows) -> str:
    """The test split in a few words."""
    return f"{share(split.targets.get('1', 0), split.rows)} positive, {count(split.groups)} groups"


def split_columns(split: SplitRows) -> list[tuple[str, str]]:
    """How many rows are positive."""
    positives = split.targets.get("1", 0)
    return [("Positive", count(positives)), ("Share positive", share(positives, split.rows))]


def read(folder: Path) -> dict[str, Any]:
    """The curves, the confusion matrix and the worst errors of one model."""
    return {
        "confusion": read_json(folder / "details/confusion.json"),
        "errors": read_table(folder / "details/errors.parquet"),
        "uncalibrated": read_table(folder / "details/reliability_uncalibrated.csv"),
        **reasoning.read(folder),
        **{name: read_table(folder / f"plots/{name}.csv") for name in ("roc", "precision_recall", "reliability")},
    }


def view(task: Task) -> dict[str, Any]:
    """Curves of all models, reliability of each, errors of each, and disputed rows."""
    return {
        "ranking": ranking_curves(task),
        "reliability": [reliability(task, model) for model in task.models],
        "errors": {model.name: model.details["errors"].to_dicts() for model in task.models},
        "disputed": disputed(task),
    }


def disputed(task: Task) -> list[dict[str, Any]]:
    """The most disputed test rows: texts, label, and (probability, decision) of each model."""
    return [
        {key: row[key] for key in ("text_a", "text_b", "label")}
        | {"answers": [(row[f"{m.name}.prob_1"], row[f"{m.name}.decision"]) for m in task.models]}
        for row in task.disagreements.head(DISPUTED).to_dicts()
    ]


def ranking_curves(task: Task) -> list[Figure]:
    """ROC and precision-recall curves of all models, with the point that each model's threshold chooses."""
    style = styles(task)
    roc, pr = [], []
    for m in task.models:
        confusion, at_roc, at_pr = (m.details[name] for name in ("confusion", "roc", "precision_recall"))
        tn, fp, fn, tp = (confusion[k] for k in ("true_negative", "false_positive", "false_negative", "true_positive"))
        if len(at_roc):
            roc.append(Line(points(at_roc), style[m.name], marks=((fp / (fp + tn), tp / (fn + tp)),)))
        if len(at_pr):
            chosen = ((tp / (tp + fn), tp / (tp + fp)),) if tp + fp else ()
            pr.append(Line(points(at_pr), style[m.name], marks=chosen))
    base = (fn + tp) / (tn + fp + fn + tp)
    return [
        Figure(
            "ROC curve",
            charts.curves(roc, "ROC curves", "False positive rate", "True positive rate", reference=[(0, 0), (1, 1)]),
            "Dots: each model at its threshold. Dotted line: chance.",
        ),
        Figure(
            "Precision and recall",
            charts.curves(pr, "Precision-recall curves", "Recall", "Precision", reference=[(0, base), (1, base)]),
            f"Dotted line: precision of calling every row positive, {number(base)}.",
        ),
    ]


def reliability(task: Task, model: Model) -> Figure:
    """Stated probability against observed frequency on the test rows, before and after the temperature."""
    changed = model.calibration["temperature"] != 1
    raw = model.details["uncalibrated"] if changed else None
    errors = [number(model.calibration[when]["calibration_error"]) for when in ("before", "after")]
    caption = (
        f"Temperature {number(model.calibration['temperature'])}. "
        f"Calibration error on the calibration rows: {errors[0]} before, {errors[1]} after."
    )
    return reliability_figure(styles(task)[model.name], model.name, raw, model.details["reliability"], caption)
