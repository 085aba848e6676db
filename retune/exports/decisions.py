"""From a learner's predictions to decisions, by what was fitted on the calibration rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.evaluation.decided import confidences, decided
from retune.evaluation.score_estimates import estimate

WRITTEN = ("truncated", "raw", "generated_label", "reasoning", "reason")
"""Columns of a prediction that are passed on as they are."""

ABSTENTION = ("abstained", "would_be", "none_of_these")
"""Columns of the decisions of a model that keeps some to itself."""


def decide(predictions: pl.DataFrame, fitted: dict[str, Any], names: Sequence[str]) -> pl.DataFrame:
    """A learner's predictions at the fitted temperature and, where there is one, threshold of the second label.

    Columns label, probability, prob_LABEL..., those of `abstained`, truncated and, of an endpoint, raw; nulls where the
    answer was unparsed.
    """
    columns = labels.names(len(names))
    probabilities, codes = decided(predictions.select(columns).fill_null(1 / len(names)).to_numpy(), fitted)
    found = pl.DataFrame(
        {
            "label": pl.Series([names[code] for code in codes], dtype=pl.String),
            "probability": pl.Series(confidences(probabilities, codes), dtype=pl.Float64),
            **{f"prob_{name}": probabilities[:, code] for code, name in enumerate(names)},
        }
    )
    parsed = predictions.select(pl.all_horizontal(pl.col(columns).is_not_null())).to_series()
    found = abstained(found.select(pl.when(parsed).then(pl.all())), fitted)
    return found.hstack(predictions.select(_written(predictions)))


def abstained(found: pl.DataFrame, fitted: dict[str, Any]) -> pl.DataFrame:
    """Decisions without the labels that are not sure enough (retune.evaluation.abstention), where that was fitted.

    Columns abstained and would_be, the label that would be given, behind the others; where it was asked for also
    none_of_these. An unparsed answer is an abstention, and would be nothing.
    """
    if "abstain_below" not in fitted:
        return found
    chance = pl.col("probability")
    silent = (chance < fitted["abstain_below"]).fill_null(True)
    more = [(chance < fitted["none_below"]).fill_null(False).alias("none_of_these")] if "none_below" in fitted else []
    kept = pl.when(~silent).then("label").alias("label")
    return found.with_columns(kept, silent.alias("abstained"), pl.col("label").alias("would_be"), *more)


def expect(predictions: pl.DataFrame, fitted: dict[str, Any], names: Sequence[str]) -> pl.DataFrame:
    """Predictions of scores `names` at the fitted temperature: columns score, prob_SCORE where there are any, WRITTEN.

    The score is the mean, median or mode of the distribution, as was fitted, or that of a learner without one.
    """
    if "prob_0" not in predictions.columns:
        return predictions.select("score", *_written(predictions))
    table = predictions.select(labels.names(len(names))).to_numpy().astype(np.float64)
    probabilities = np.exp(labels.log_softmax(np.log(np.maximum(table, 1e-15)) / fitted["temperature"]))
    values = np.array(names, dtype=np.float64)
    scores = pl.Series(estimate(probabilities, values, fitted["estimate"] or "mean"), dtype=pl.Float64)
    columns = {f"prob_{name}": probabilities[:, code] for code, name in enumerate(names)}
    return pl.DataFrame({"score": scores, **columns}).hstack(predictions.select(_written(predictions)))


def judge(predictions: pl.DataFrame, fitted: dict[str, Any], names: Sequence[str]) -> pl.DataFrame:
    """Scores of documents, and the relevance that each stands for: columns score, relevance, truncated."""
    relevance = (pl.col("score") * fitted["scale"] + fitted["bias"]).clip(0.0, 1.0)
    return predictions.select("score", relevance.alias("relevance"), *_written(predictions))


def abstention(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a decided row says of abstention; nothing of a model that answers every row."""
    return {name: row[name] for name in ABSTENTION if name in row}


def _written(predictions: pl.DataFrame) -> list[str]:
    return [name for name in WRITTEN if name in predictions.columns]
