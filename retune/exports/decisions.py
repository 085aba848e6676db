"""From a learner's predictions to decisions, by what was fitted on the calibration rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.evaluation.calibration import calibrated, log_odds
from retune.evaluation.score_estimates import estimate

WRITTEN = ("truncated", "raw", "generated_label", "reasoning", "reason")
"""Columns of a prediction that are passed on as they are."""


def decide(predictions: pl.DataFrame, fitted: dict[str, Any], names: Sequence[str]) -> pl.DataFrame:
    """A learner's predictions at the fitted temperature and, where there is one, threshold of the second label.

    Columns label, probability, prob_LABEL..., truncated and, of an endpoint, raw; nulls where the answer was unparsed.
    """
    columns = labels.names(len(names))
    table = predictions.select(columns).fill_null(1 / len(names)).to_numpy()
    if "threshold" in fitted:
        second = calibrated(log_odds(table[:, 0], table[:, 1]), fitted["temperature"])
        probabilities = np.stack([1 - second, second], axis=1)
        codes = (second >= fitted["threshold"]).astype(np.int64)
    else:
        probabilities = np.exp(labels.log_softmax(np.log(np.maximum(table, 1e-15)) / fitted["temperature"]))
        codes = probabilities.argmax(axis=1) if len(table) else np.zeros(0, dtype=np.int64)
    found = pl.DataFrame(
        {
            "label": pl.Series([names[code] for code in codes], dtype=pl.String),
            "probability": pl.Series(probabilities[np.arange(len(codes)), codes], dtype=pl.Float64),
            **{f"prob_{name}": probabilities[:, code] for code, name in enumerate(names)},
        }
    )
    parsed = predictions.select(pl.all_horizontal(pl.col(columns).is_not_null())).to_series()
    found = found.select(pl.when(parsed).then(pl.all()))
    return found.hstack(predictions.select(_written(predictions)))


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


def _written(predictions: pl.DataFrame) -> list[str]:
    return [name for name in WRITTEN if name in predictions.columns]
