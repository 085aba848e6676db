"""Details of kind `classification`: the classes, what is mistaken for what, every error, the curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.evaluation import confusion_svg, curves
from retune.evaluation.kinds.classification import answers, constant_baseline, log_probs, temperature_scaled
from retune.evaluation.multiclass_metrics import ClassAnswers
from retune.evaluation.weighted import Floats

if TYPE_CHECKING:
    from retune.params import Params

SHOWN = 5  # labels listed beside an error


def write(folder: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> None:
    """Write the classes, the confusion matrix (table and picture), every error, every failed answer, and the curves."""
    given = answers(joined, fitted, spec, splits)
    raw = answers(joined, fitted | {"temperature": 1.0}, spec, splits)
    plots, details = folder / "plots", folder / "details"
    trivial = per_class(constant_baseline(given), spec.labels, splits)["f1"].alias("constant_f1")
    by_class = per_class(given, spec.labels, splits).with_columns(trivial)
    by_class.write_csv(details / "classes.csv")
    confused = confusion(given, spec.labels)
    confused.write_csv(details / "confusion.csv")
    (details / "confusion_matrix.svg").write_text(confusion_svg.document(confused, spec.labels), encoding="utf-8")
    wrong = errors(joined, given, temperature_scaled(log_probs(joined, len(spec.labels)), fitted["temperature"]), spec)
    wrong.write_ndjson(details / "error_predictions.jsonl")
    wrong.head(spec.errors).write_parquet(details / "errors.parquet")
    unread = joined.filter(~pl.col("parsed")).select("id", "text", pl.col("label").cast(pl.String))
    unread.write_ndjson(details / "failed_predictions.jsonl")
    for table, target in ((given, plots / "reliability.csv"), (raw, details / "reliability_uncalibrated.csv")):
        right = (table.labels == table.decisions).astype(np.int64)
        curves.reliability(right, table.confidences).write_csv(target)
    ranks = np.array([float((given.ranks < k).mean()) for k in range(1, len(spec.labels) + 1)])
    pl.DataFrame({"x": np.arange(1, len(ranks) + 1), "y": ranks}).head(10).write_csv(plots / "top_k_accuracy.csv")
    ordered = by_class.sort("train", descending=True, maintain_order=True)
    ordered.select(pl.int_range(1, pl.len() + 1).alias("x"), y="f1").write_csv(plots / "f1_by_class_size.csv")


def per_class(given: ClassAnswers, labels: list[str], splits: dict[str, Any]) -> pl.DataFrame:
    """A row for each label: label, third, train (rows), rows (test), predicted, precision, recall, f1.

    Precision is 0 where the label is never decided; recall and F1 are null where no test row has it.
    """
    count = len(labels)
    right = np.bincount(given.labels[given.labels == given.decisions], minlength=count)
    rows, decided = (np.bincount(codes[codes >= 0], minlength=count) for codes in (given.labels, given.decisions))
    trained = splits["splits"]["train"]["targets"]
    return pl.DataFrame(
        {
            "label": labels,
            "third": [("head", "middle", "tail")[third] for third in given.thirds],
            "train": [trained.get(label, 0) for label in labels],
            "rows": rows,
            "predicted": decided,
            "precision": right / np.maximum(decided, 1),
            "recall": [r / n if n else None for r, n in zip(right.tolist(), rows.tolist(), strict=True)],
            "f1": [
                2 * r / (n + d) if n else None
                for r, n, d in zip(right.tolist(), rows.tolist(), decided.tolist(), strict=True)
            ],
        }
    )


def confusion(given: ClassAnswers, labels: list[str]) -> pl.DataFrame:
    """The cells of the confusion matrix with rows: label, predicted (null: no answer), rows, share of the label."""
    counts = pl.DataFrame({"gold": given.labels, "decided": given.decisions}).group_by("gold", "decided").len("rows")
    counts = counts.sort("gold", "decided")
    return counts.select(
        label=pl.Series([labels[code] for code in counts["gold"]], dtype=pl.String),
        predicted=pl.Series([labels[code] if code >= 0 else None for code in counts["decided"]], dtype=pl.String),
        rows=pl.col("rows"),
        share=pl.col("rows") / pl.col("rows").sum().over("gold"),
    )


def errors(joined: pl.DataFrame, given: ClassAnswers, logs: Floats, spec: Params) -> pl.DataFrame:
    """Every wrong decision, the surest first: id, text, label, predicted, probability, probability_label, likeliest.

    `likeliest` names the five likeliest labels. Rows without an answer are not among them.
    """
    wrong = np.flatnonzero((given.decisions != given.labels) & (given.decisions >= 0))
    best = np.argsort(-logs[wrong], axis=1, kind="stable")[:, :SHOWN]
    table = joined[wrong].select("id", "text", pl.col("label").cast(pl.String))
    return table.with_columns(
        predicted=pl.Series([spec.labels[code] for code in given.decisions[wrong]], dtype=pl.String),
        probability=pl.Series(given.confidences[wrong], dtype=pl.Float64),
        probability_label=pl.Series(np.exp(logs[wrong, given.labels[wrong]]), dtype=pl.Float64),
        likeliest=pl.Series(["; ".join(spec.labels[code] for code in row) for row in best], dtype=pl.String),
    ).sort("probability", "id", descending=[True, False])
