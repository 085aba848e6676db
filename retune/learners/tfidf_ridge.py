"""Learner `linear` of kind `scoring`: TF-IDF over character n-grams and a ridge regression for each dimension.

All dimensions share the n-grams, which are counted once a document. The penalty is 1 / `linear.c`. A dimension without
a training row gets the mean score of all. Saved as arrays in safetensors, so that loading a model executes nothing.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from retune.data import labels
from retune.evaluation import dev_metrics
from retune.learners.tfidf_logistic import vectorizer_of
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


class Predictor:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, vectorizer: TfidfVectorizer, weights: np.ndarray, bias: np.ndarray, spec: Params) -> None:
        self.vectorizer, self.weights, self.bias, self.spec = vectorizer, weights, bias, spec

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score (within the task's scores), truncated for the rows of `frame`."""
        scores = pl.Series(self.scores(frame), dtype=pl.Float64)
        return frame.select("id", score=scores, truncated=pl.lit(False))

    def scores(self, frame: pl.DataFrame) -> np.ndarray:
        """The score of every row, float64 [rows]; `weights` is [features, dimensions], `bias` [dimensions]."""
        if frame.is_empty():
            return np.zeros(0)
        codes = labels.codes(frame["dimension"], list(self.spec.dimensions))
        found = (self.vectorizer.transform(frame["document"].to_list()) @ self.weights + self.bias)[
            np.arange(len(codes)), codes
        ]
        inside: np.ndarray = np.clip(found, *self.spec.scores)
        return inside


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Fit on `train`, measure on `dev`, and write weights and vocabulary into `out`."""
    start = time.monotonic()
    vectorizer = vectorizer_of(spec)
    vectorizer.fit(train["document"].unique(maintain_order=True).to_list())
    names = list(spec.dimensions)
    codes = labels.codes(train["dimension"], names)
    features, scores = vectorizer.transform(train["document"].to_list()), train["score"].to_numpy().astype(np.float64)
    weights, bias = np.zeros((features.shape[1], len(names))), np.full(len(names), scores.mean())
    for code in sorted(set(codes.tolist())):
        rows = np.flatnonzero(codes == code)
        regression = Ridge(alpha=1 / spec.linear.c, solver="sparse_cg", tol=1e-8, max_iter=2000)
        regression.fit(features[rows], scores[rows])
        weights[:, code], bias[code] = regression.coef_, regression.intercept_
    predictor = Predictor(vectorizer, weights, bias, spec)

    grams = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    (out / "vocabulary.json").write_text(json.dumps(grams, ensure_ascii=False), encoding="utf-8")
    save_file({"weights": weights, "bias": bias, "idf": vectorizer.idf_}, out / "model.safetensors")

    metrics = dev_metrics.numbers(dev["score"].to_numpy().astype(np.float64), predictor.scores(dev))
    log.info("%d n-grams, %d training rows, dev mae %.3f", len(grams), len(train), metrics["mae"])
    absent = [name for code, name in enumerate(names) if code not in codes]
    return Training(
        history=[{"step": 1, **{f"eval_{name}": value for name, value in metrics.items()}}],
        resources={
            "seconds": time.monotonic() - start,
            "rows": len(train),
            "device": "cpu",
            "parameters_trained": int(weights.size + bias.size),
        },
        messages=[f"No training row has the dimension {name}: it gets the mean score of all." for name in absent],
    )


def load(model_dir: Path, base: Path, hardware: Params) -> Predictor:
    """Read what `fit` wrote and the stage's spec.json."""
    from retune import params

    spec = params.load(model_dir / "spec.json")
    grams = json.loads((model_dir / "vocabulary.json").read_text(encoding="utf-8"))
    arrays = load_file(model_dir / "model.safetensors")
    vectorizer = vectorizer_of(spec, {gram: index for index, gram in enumerate(grams)})
    vectorizer.idf_ = arrays["idf"]
    return Predictor(vectorizer, arrays["weights"], arrays["bias"], spec)
