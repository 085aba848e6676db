"""Predict scores by the fitted regressions."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from retune import params
from retune.learners import tfidf
from retune.learners.tfidf_ridge.scores import scores
from retune.params import Params


class TfidfScorer:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, linear: tfidf.Linear, spec: Params) -> None:
        self.linear, self.spec = linear, spec

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score (within the task's scores), truncated for the rows of `frame`."""
        found = pl.Series(scores(self.linear, frame, self.spec), dtype=pl.Float64)
        return frame.select("id", score=found, truncated=pl.lit(False))


def load(model_dir: Path, base: Path, hardware: Params, options: Params | None = None) -> TfidfScorer:
    """Read what `fit` wrote and the stage's spec.json."""
    spec = params.load(model_dir / "spec.json")
    return TfidfScorer(tfidf.load(model_dir, spec), spec)
