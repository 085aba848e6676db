"""Fit the n-grams and the regression on the training rows."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from retune.data import kinds, labels
from retune.evaluation import dev_metrics
from retune.learners import tfidf
from retune.learners.tfidf_logistic.features import features, log_probs
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Fit on `train`, measure on `dev`, and write weights and vocabulary into `out`."""
    start = time.monotonic()
    options = spec.linear
    vectorizer = tfidf.vectorizer_of(spec)
    vectorizer.fit([text for column in kinds.of(spec.kind).TEXTS for text in train[column]])
    regression = LogisticRegression(
        C=options.c,
        class_weight="balanced" if options.class_weights == "balanced" else None,
        solver="liblinear" if len(spec.labels) == 2 else "lbfgs",
        max_iter=1000,
        random_state=spec.seed,
    )
    codes = labels.codes(train["label"], spec.labels)
    regression.fit(features(vectorizer, train, spec), codes)
    linear = tfidf.Linear(vectorizer, *of_every_label(regression, len(spec.labels)))
    tfidf.save(linear, out)

    metrics = dev_metrics.of(spec.kind, labels.codes(dev["label"], spec.labels), log_probs(linear, dev, spec))
    primary = kinds.of(spec.kind).SELECT
    grams = len(vectorizer.vocabulary_)
    log.info("%d n-grams, %d training rows, dev %s %.3f", grams, len(train), primary, metrics[primary])
    problem = dev_metrics.problem(metrics, f"another linear.c (now {options.c:g}), or more rows")
    if problem:
        log.warning(problem)
    seconds = time.monotonic() - start
    shown = {f"eval_{name}": value for name, value in metrics.items() if name in kinds.of(spec.kind).DEV_METRICS}
    fitted = regression.coef_.size + regression.intercept_.size
    return Training(
        history=[{"step": 1, **shown}],
        resources={"seconds": seconds, "rows": len(train), "device": "cpu", "parameters_trained": int(fitted)},
        warnings=[problem] if problem else [],
    )


def of_every_label(regression: LogisticRegression, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [features, labels] and bias [labels] of a softmax; a label without a training row gets probability 0."""
    coefficients, intercept = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # one set of weights, for the log-odds of the second label
        coefficients = np.stack([np.zeros_like(coefficients[0]), coefficients[0]])
        intercept = np.array([0.0, float(intercept[0])])
    weights, bias = np.zeros((coefficients.shape[1], count)), np.full(count, -1e4)
    weights[:, regression.classes_], bias[regression.classes_] = coefficients.T, intercept
    return weights, bias
