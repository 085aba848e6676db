"""What the report says about one model: metrics with intervals, confusion matrix, worst errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.bootstrap import centred, interval, replicates
from retune.metrics import METRICS, Answers, Floats, Integers, confusion, measure

if TYPE_CHECKING:
    from retune.params import Params


def metrics_with_intervals(answers: Answers, groups: Integers, spec: Params) -> dict[str, Any]:
    """{metric: {value, low, high}} in the order of `METRICS`, from `spec.bootstrap` resamples of the groups [n]."""
    return summarise(answers, replicates([answers], groups, spec.bootstrap, spec.seed)[0], spec.confidence)


def summarise(answers: Answers, replicated: dict[str, Floats], confidence: float) -> dict[str, Any]:
    """{metric: {value, low, high}} from replicates [B]; null where a metric has no meaning.

    `undefined` counts the resamples that the interval had to leave out, if there are any.
    """
    values = point(answers)
    summary: dict[str, Any] = {}
    for metric in METRICS:
        draws = centred(replicated[metric], values[metric]) if metric == "ece" else replicated[metric]
        low, high = interval(draws, confidence) or (None, None)
        if metric == "ece" and low is not None:
            low = max(0.0, low)
        summary[metric] = {"value": finite(values[metric]), "low": low, "high": high}
        if undefined := int(np.isnan(draws).sum()):
            summary[metric]["undefined"] = undefined
    return summary


def point(answers: Answers) -> dict[str, float]:
    """Every metric on all rows, each once."""
    return {metric: float(value) for metric, value in measure(answers, np.ones(len(answers.labels))).items()}


def finite(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return None if np.isnan(value) else value


def confusion_counts(answers: Answers) -> dict[str, int]:
    """Rows by gold label and decision: true_negative, false_positive, false_negative, true_positive."""
    table = confusion(answers.labels, answers.decisions, np.ones(len(answers.labels)))
    return {name: int(count) for name, count in table._asdict().items()}


def worst_errors(rows: pl.DataFrame, answers: Answers, seen: pl.Series, count: int) -> pl.DataFrame:
    """Pick the `count` wrong decisions that the model was surest of: half false positives, half false negatives.

    Where one kind has fewer, the other fills up. Columns: id, text_a, text_b, label, decision, prob_1 (calibrated);
    false positives first, surest first, ties by id. Unparsed rows (`seen` false) have no probability and are left out.
    """
    table = rows.select("id", "text_a", "text_b", "label").with_columns(
        decision=pl.Series(answers.decisions, dtype=pl.Int8), prob_1=pl.Series(answers.probabilities)
    )
    table = table.filter(seen & (pl.col("label") != pl.col("decision")))
    positive = table.filter(decision=1).sort("prob_1", "id", descending=[True, False])
    negative = table.filter(decision=0).sort("prob_1", "id")
    half = max((count + 1) // 2, count - len(negative))
    chosen = positive.head(half)
    return pl.concat([chosen, negative.head(count - len(chosen))])
