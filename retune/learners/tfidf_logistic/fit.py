"""Fit the n-grams and the regression on the training rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from retune.data import kinds, labels, lessons
from retune.evaluation import dev_metrics
from retune.learners import tfidf, tfidf_choice
from retune.learners.tfidf_logistic.features import features
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

TOLERANCE, OVER_PENALTY = 1e-4, 0.3
"""Bounds of the gradient's largest entry at the end of a fit: as it is, and over c times the rows. The penalty's part
of the gradient shrinks with these, and a bound that does not would end a fit at the weights of the one before."""


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Fit on `train`, choose and measure on `dev`, and write weights and vocabulary into `out`."""
    start = time.monotonic()
    kind = kinds.of(spec.kind)
    found = tfidf_choice.ngrams(spec, [text for column in kind.TEXTS for text in train[column]])
    dev_vectors = {
        unit: [vectorizer.transform(dev[column].to_list()) for column in kind.TEXTS]
        for unit, vectorizer in found.vectorizers.items()
    }
    gold, dev_gold = lessons.codes(train["label"], spec.labels), labels.codes(dev["label"], spec.labels)
    taught = Taught.of(train, gold, spec) if "teacher" in spec else None

    def attempts(analyzer: str, units: Sequence[str]) -> Iterator[tfidf_choice.Attempt]:
        whole = tfidf.joined([found.matrices[unit] for unit in units])
        rows = features([whole[place * len(train) : (place + 1) * len(train)] for place in range(len(kind.TEXTS))])
        texts = [tfidf.joined([dev_vectors[unit][place] for unit in units]) for place in range(len(kind.TEXTS))]
        measured = features(texts)
        for c, weights, bias in _regressions(spec, rows, gold, taught):
            log_probs = labels.log_softmax(measured @ weights + bias)
            metrics = dev_metrics.of(spec.kind, dev_gold, log_probs)
            yield tfidf_choice.Attempt(analyzer, c, units, weights, bias, metrics)

    chosen, said = tfidf_choice.best(spec, found, kind.SELECT, len(dev), attempts)
    linear = tfidf.Linear({unit: found.vectorizers[unit] for unit in chosen.units}, chosen.weights, chosen.bias)
    tfidf.save(linear, out)

    grams = sum(len(vectorizer.vocabulary_) for vectorizer in linear.vectorizers.values())
    metrics = dict(chosen.metrics)
    log.info("%d n-grams, %d training rows, dev %s %.3f", grams, len(train), kind.SELECT, metrics[kind.SELECT])
    problem = dev_metrics.problem(metrics, f"other values of linear.c (here {chosen.c:g}), or more rows")
    if problem:
        log.warning(problem)
    shown = {f"eval_{name}": value for name, value in metrics.items() if name in kind.DEV_METRICS}
    return Training(
        history=[{"step": 1, **shown}],
        resources={
            "seconds": time.monotonic() - start,
            "rows": len(train),
            "device": "cpu",
            "parameters_trained": _fitted(chosen.weights, set((taught.codes if taught else gold).tolist())),
        },
        messages=said,
        warnings=[*found.warnings, *([problem] if problem else [])],
    )


@dataclass(frozen=True)
class Taught:
    """The rows of a student once for each label that they may have: row, code of the label, weight."""

    rows: np.ndarray
    codes: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, train: pl.DataFrame, gold: np.ndarray, spec: Params) -> Taught:
        """From labels and lessons; a label weighs by its class as `linear.class_weights` says, a lesson does not."""
        counts = np.bincount(gold[gold != lessons.NONE], minlength=len(spec.labels)).astype(np.float64)
        balanced = counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1.0))
        of_class = balanced if spec.linear.class_weights == "balanced" else None
        told = lessons.table(train, len(spec.labels))
        return cls(*lessons.as_weighted_rows(gold, told, spec.teacher, of_class))


def _regressions(
    spec: Params, rows: Any, gold: np.ndarray, taught: Taught | None = None
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """`c`, weights [features, labels] and bias [labels] for each value of `linear.c`, from the strongest penalty on.

    Each begins at the weights of the one before.
    """
    regression = LogisticRegression(
        class_weight="balanced" if spec.linear.class_weights == "balanced" and taught is None else None,
        solver="lbfgs",
        max_iter=1000,
        warm_start=True,
        random_state=spec.seed,
    )
    for c in tfidf_choice.values_of_c(spec):
        regression.set_params(C=c, tol=min(TOLERANCE, OVER_PENALTY / (c * len(gold))))
        if taught:
            regression.fit(rows[taught.rows], taught.codes, taught.weights)
        else:
            regression.fit(rows, gold)
        yield c, *of_every_label(regression, len(spec.labels))


def of_every_label(regression: LogisticRegression, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [features, labels] and bias [labels] of a softmax; a label without a training row gets probability 0."""
    coefficients, intercept = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # one set of weights, for the log-odds of the second label
        coefficients = np.stack([np.zeros_like(coefficients[0]), coefficients[0]])
        intercept = np.array([0.0, float(intercept[0])])
    weights, bias = np.zeros((coefficients.shape[1], count)), np.full(count, -1e4)
    weights[:, regression.classes_], bias[regression.classes_] = coefficients.T, intercept
    return weights, bias


def _fitted(weights: np.ndarray, seen: set[int]) -> int:
    """Numbers that were fitted: weights and a bias for each label seen, of two labels for one of them."""
    return (weights.shape[0] + 1) * (len(seen) if len(seen) > 2 else 1)
