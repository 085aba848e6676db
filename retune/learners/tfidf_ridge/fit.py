"""Fit the n-grams and a regression for each dimension on the training rows."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from sklearn.linear_model import Ridge

from retune.data import labels
from retune.evaluation import dev_metrics
from retune.learners import tfidf
from retune.learners.tfidf_ridge.scores import scores
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Fit on `train`, measure on `dev`, and write weights and vocabulary into `out`."""
    start = time.monotonic()
    vectorizer = tfidf.vectorizer_of(spec)
    vectorizer.fit(train["document"].unique(maintain_order=True).to_list())
    names = list(spec.dimensions)
    codes = labels.codes(train["dimension"], names)
    features, targets = vectorizer.transform(train["document"].to_list()), train["score"].to_numpy().astype(np.float64)
    weights, bias = np.zeros((features.shape[1], len(names))), np.full(len(names), targets.mean())
    for code in sorted(set(codes.tolist())):
        rows = np.flatnonzero(codes == code)
        regression = Ridge(alpha=1 / spec.linear.c, solver="sparse_cg", tol=1e-8, max_iter=2000)
        regression.fit(features[rows], targets[rows])
        weights[:, code], bias[code] = regression.coef_, regression.intercept_
    linear = tfidf.Linear(vectorizer, weights, bias)
    tfidf.save(linear, out)

    metrics = dev_metrics.numbers(dev["score"].to_numpy().astype(np.float64), scores(linear, dev, spec))
    grams = len(vectorizer.vocabulary_)
    log.info("%d n-grams, %d training rows, dev mae %.3f", grams, len(train), metrics["mae"])
    absent = [name for code, name in enumerate(names) if code not in codes]
    return Training(
        history=[{"step": 1, **{f"eval_{name}": value for name, value in dev_metrics.of_the_model(metrics).items()}}],
        resources={
            "seconds": time.monotonic() - start,
            "rows": len(train),
            "device": "cpu",
            "parameters_trained": int(weights.size + bias.size),
        },
        warnings=[f"No training row has the dimension {name}: it gets the mean score of all." for name in absent],
    )
