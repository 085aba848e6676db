"""Details of kind `pair`: the curves, the confusion matrix, the worst errors, readings and reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.evaluation import curves, reading_metrics, reasons, self_consistency
from retune.evaluation.binary_metrics import BinaryAnswers, confusion
from retune.evaluation.kinds.pair import answers, decided

if TYPE_CHECKING:
    from retune.params import Params


def write(folder: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> None:
    """Write the curves, the confusion matrix and the worst errors."""
    given, raw = answers(joined, fitted, spec, splits), decided(joined, 1.0, 0.5)
    plots, details = folder / "plots", folder / "details"
    curves.roc(given.labels, given.probabilities).write_csv(plots / "roc.csv")
    curves.precision_recall(given.labels, given.probabilities).write_csv(plots / "precision_recall.csv")
    curves.reliability(given.labels, given.probabilities).write_csv(plots / "reliability.csv")
    curves.reliability(raw.labels, raw.probabilities).write_csv(details / "reliability_uncalibrated.csv")
    (details / "confusion.json").write_text(json.dumps(confusion_counts(given), indent=2) + "\n")
    worst_errors(joined, given, spec.errors).write_parquet(details / "errors.parquet")
    reading_metrics.write(details / "readings.json", joined, fitted, spec, splits)
    reasons.write(details, joined, spec, ("text_a", "text_b"))
    if (votes := self_consistency.votes(joined, "label")) is not None:
        (details / "repeats.json").write_text(json.dumps(votes, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def confusion_counts(given: BinaryAnswers) -> dict[str, int]:
    """Rows by gold label and decision: true_negative, false_positive, false_negative, true_positive."""
    table = confusion(given.labels, given.decisions, np.ones(len(given.labels)))
    return {name: int(count) for name, count in table._asdict().items()}


def worst_errors(joined: pl.DataFrame, given: BinaryAnswers, count: int) -> pl.DataFrame:
    """Pick the `count` wrong decisions that the model was surest of: half false positives, half false negatives.

    Where one kind has fewer, the other fills up. Columns: id, text_a, text_b, label, decision, prob_1 (calibrated);
    false positives first, surest first, ties by id. Unparsed rows have no probability and are left out.
    """
    table = joined.select("id", "text_a", "text_b", "label", "parsed").with_columns(
        decision=pl.Series(given.decisions, dtype=pl.Int8), prob_1=pl.Series(given.probabilities)
    )
    table = table.filter(pl.col("parsed") & (pl.col("label") != pl.col("decision"))).drop("parsed")
    positive = table.filter(decision=1).sort("prob_1", "id", descending=[True, False])
    negative = table.filter(decision=0).sort("prob_1", "id")
    half = max((count + 1) // 2, count - len(negative))
    chosen = positive.head(half)
    return pl.concat([chosen, negative.head(count - len(chosen))])
