"""A model's answers as lessons for another one: calibrated by what was fitted on its calibration rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels

if TYPE_CHECKING:
    from retune.params import Params


def of(predictions: pl.DataFrame, fitted: dict[str, Any], spec: Params) -> pl.DataFrame:
    """Columns id, lesson (retune.data.lessons) of the rows that the model answered.

    `fitted`: its temperature (of kind ranking: scale and bias), `spec`: kind, labels, of kind scoring scores.
    """
    if spec.kind == "ranking":
        relevance = (pl.col("score") * fitted["scale"] + fitted["bias"]).clip(0.0, 1.0)
        return _listed(predictions.select("id", lesson=pl.concat_list(relevance)), predictions["score"])
    if spec.kind == "scoring" and "prob_0" not in predictions.columns:
        found = pl.col("score").clip(*spec.scores)
        return _listed(predictions.select("id", lesson=pl.concat_list(found)), predictions["score"])
    chances = predictions.select(labels.names(len(spec.labels)))
    table = chances.fill_null(1.0).to_numpy().astype(np.float64)
    scaled = np.exp(labels.log_softmax(np.log(np.maximum(table, 1e-15)) / fitted["temperature"]))
    if spec.kind == "scoring":
        scaled = scaled @ np.arange(spec.scores[0], spec.scores[1] + 1, dtype=np.float64)[:, None]
    lesson = pl.Series("lesson", scaled.tolist(), dtype=pl.List(pl.Float64))
    return _listed(predictions.select("id").with_columns(lesson), chances.to_series(0))


def _listed(found: pl.DataFrame, answered: pl.Series) -> pl.DataFrame:
    return found.filter(answered.is_not_null())
