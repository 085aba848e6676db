"""Predict labels by the fitted regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from retune import params
from retune.data import labels
from retune.learners import tfidf
from retune.learners.tfidf_logistic.features import log_probs
from retune.params import Params


class TfidfClassifier:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, linear: tfidf.Linear, spec: Params) -> None:
        self.linear, self.spec = linear, spec

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0 .. prob_K-1, truncated for the rows of `frame`."""
        uncut = np.zeros(len(frame), dtype=bool)
        return labels.predictions(frame["id"], log_probs(self.linear, frame, self.spec), self.spec.labels, uncut)


def load(model_dir: Path, base: Path, hardware: Params, options: Params | None = None) -> TfidfClassifier:
    """Read what `fit` wrote and the stage's spec.json."""
    spec = params.load(model_dir / "spec.json")
    return TfidfClassifier(tfidf.load(model_dir, spec), spec)
