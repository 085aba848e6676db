"""Fit the n-grams and a regression for each dimension on the training rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from sklearn.linear_model import Ridge

from retune.data import kinds, labels, lessons
from retune.evaluation import dev_metrics
from retune.learners import tfidf, tfidf_choice
from retune.learners.tfidf_ridge.scores import within
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Fit on `train`, choose and measure on `dev`, and write weights and vocabulary into `out`."""
    start = time.monotonic()
    texts = train["document"].unique(maintain_order=True).to_list()
    place = {text: number for number, text in enumerate(texts)}
    documents = np.array([place[text] for text in train["document"]])
    found = tfidf_choice.ngrams(spec, texts)
    dev_vectors = {unit: found.vectorizers[unit].transform(dev["document"].to_list()) for unit in found.vectorizers}
    names = list(spec.dimensions)
    codes, dev_codes = (labels.codes(frame["dimension"], names) for frame in (train, dev))
    dev_targets = dev["score"].to_numpy().astype(np.float64)
    targets, shares = _targets(train, spec)

    def attempts(analyzer: str, units: Sequence[str]) -> Iterator[tfidf_choice.Attempt]:
        vectors = tfidf.joined([found.matrices[unit] for unit in units])[documents]
        measured = tfidf.joined([dev_vectors[unit] for unit in units])
        for c in tfidf_choice.values_of_c(spec):
            weights, bias = (
                np.zeros((vectors.shape[1], len(names))),
                np.full(len(names), np.average(targets, weights=shares)),
            )
            for code in sorted(set(codes.tolist())):
                rows = np.flatnonzero(codes == code)
                regression = Ridge(alpha=1 / c, solver="sparse_cg", tol=1e-8, max_iter=2000)
                regression.fit(vectors[rows], targets[rows], None if shares is None else shares[rows])
                weights[:, code], bias[code] = regression.coef_, regression.intercept_
            predicted = within(measured @ weights + bias, dev_codes, spec)
            metrics = dev_metrics.numbers(dev_targets, predicted, dev_codes)
            yield tfidf_choice.Attempt(analyzer, c, units, weights, bias, metrics)

    chosen, said = tfidf_choice.best(spec, found, kinds.of(spec.kind).SELECT, len(dev), attempts)
    linear = tfidf.Linear({unit: found.vectorizers[unit] for unit in chosen.units}, chosen.weights, chosen.bias)
    tfidf.save(linear, out)

    grams = sum(len(vectorizer.vocabulary_) for vectorizer in linear.vectorizers.values())
    log.info("%d n-grams, %d training rows, dev mae %.3f", grams, len(train), chosen.metrics["mae"])
    problem = dev_metrics.problem(
        dict(chosen.metrics), f"other values of linear.c (here {chosen.c:g}), linear.ngrams, or more rows"
    )
    if problem:
        log.warning(problem)
    absent = [name for code, name in enumerate(names) if code not in codes]
    return Training(
        history=[
            {
                "step": 1,
                **{f"eval_{name}": value for name, value in dev_metrics.of_the_model(dict(chosen.metrics)).items()},
            }
        ],
        resources={
            "seconds": time.monotonic() - start,
            "rows": len(train),
            "device": "cpu",
            "parameters_trained": int(chosen.weights.size + chosen.bias.size),
        },
        messages=said,
        warnings=[
            *found.warnings,
            *([problem] if problem else []),
            *(f"No training row has the dimension {name}: it gets the mean score of all." for name in absent),
        ],
    )


def _targets(train: pl.DataFrame, spec: Params) -> tuple[np.ndarray, np.ndarray | None]:
    """The score that each row is fitted to, and its weight; None: all alike.

    With a teacher the target is (1 - w) * score + w * the expected score that it gives, whose squared error differs
    from (1 - w) and w times both errors by a constant; a row without one of the two has the other alone, with its
    share as weight.
    """
    gold = train["score"].cast(pl.Float64).to_numpy()
    if "teacher" not in spec:
        return gold, None
    share, told = lessons.weight(spec), lessons.table(train)[:, 0]
    weights = np.stack([(1 - share) * ~np.isnan(gold), share * ~np.isnan(told)])
    both = np.nan_to_num(np.stack([gold, told]))
    total = weights.sum(0)
    return (weights * both).sum(0) / np.where(total > 0, total, 1.0), total
