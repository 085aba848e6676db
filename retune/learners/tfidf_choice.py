"""N-grams and the strength of the penalty of a linear model, chosen on dev among a few."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from retune.errors import RetuneError
from retune.evaluation.dev_metrics import LOWER
from retune.learners import tfidf

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

UNITS = {"char": ("char",), "word": ("word",), "both": ("char", "word")}
"""`linear.analyzer` -> what its n-grams are of; `auto` tries these in turn, so among equals the simplest is taken."""

WORSE = 2
"""So many values of `linear.c`, one after the other, that are worse on dev end the search: larger ones overfit more,
and take longest."""


@dataclass(frozen=True)
class Ngrams:
    """The n-grams of the training texts by unit: the fitted vectorizer, and the sparse matrix [texts, n-grams]."""

    vectorizers: dict[str, TfidfVectorizer]
    matrices: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True)
class Attempt:
    """A fitted model: its n-grams, their units, its `c`, weights [features, outputs], bias [outputs], dev metrics."""

    analyzer: str
    c: float
    units: Sequence[str]
    weights: np.ndarray
    bias: np.ndarray
    metrics: Mapping[str, float]


def ngrams(spec: Params, texts: Sequence[str]) -> Ngrams:
    """Count the n-grams that `linear.analyzer` may need; `linear.min_df` gives way where it would leave none.

    Raises `RetuneError` where no text is as long as the shortest n-gram.
    """
    asked = UNITS.get(spec.linear.analyzer, UNITS["both"])
    for least in dict.fromkeys((int(spec.linear.min_df), 1)):
        fitted, matrices = {}, {}
        for unit in asked:
            vectorizer = tfidf.vectorizer_of(spec, unit, least)
            try:
                matrices[unit] = vectorizer.fit_transform(texts)
            except ValueError:
                continue  # scikit-learn's word for an empty vocabulary, the only thing that texts can get wrong
            fitted[unit] = vectorizer
        if not fitted:
            continue
        said = []
        if least < spec.linear.min_df:
            said.append(
                f"No n-gram stands in linear.min_df {spec.linear.min_df} of {len(texts):,} training texts, so those of "
                f"a single text count as well: the model knows little beyond its training rows."
            )
        if lost := [unit for unit in asked if unit not in fitted and spec.linear.analyzer != "auto"]:
            said.append(f"No n-gram of {lost[0]}s stands in {least} training texts: these are left out.")
        return Ngrams(fitted, matrices, said)
    remedy = f"take a first length below {spec.linear.ngrams[0]}" if "char" in asked else "take `linear.analyzer: char`"
    raise RetuneError(
        f"none of the {len(texts):,} training texts has an n-gram of {' or '.join(asked)}s (linear.ngrams, "
        f"linear.analyzer): {remedy}"
    )


def best(
    spec: Params, found: Ngrams, metric: str, rows: int, attempts: Callable[[str, Sequence[str]], Iterator[Attempt]]
) -> tuple[Attempt, list[str]]:
    """The attempt to take by the dev `metric` of so many `rows`, and sentences for the record.

    Of those within one standard error of the best, which so few rows can't tell apart, that is the one with the least
    loss, and among equals the first. Without a loss it is the best. `attempts(analyzer, units)` fits one model after
    the other, `values_of_c` in turn, so that each may begin at the weights of the one before.
    """
    front: list[Attempt] = []  # those that no other beats in metric and loss: only they keep their weights
    tried: dict[str, list[str]] = {}
    with threadpool_limits(limits=1, user_api="blas"):  # sums of several threads depend on how many there are
        for analyzer, units in _analyzers(spec, found).items():
            score, loss, worse = -math.inf, math.inf, 0
            for attempt in attempts(analyzer, units):
                tried.setdefault(analyzer, []).append(_entry(attempt, metric))
                worse = worse + 1 if _score(attempt, metric) < score and _loss(attempt, metric) > loss else 0
                score, loss = max(score, _score(attempt, metric)), min(loss, _loss(attempt, metric))
                if not any(_covers(other, attempt, metric) for other in front):
                    front = [*(other for other in front if not _covers(attempt, other, metric)), attempt]
                if worse == WORSE:
                    break
    top = max(front, key=lambda attempt: _score(attempt, metric))
    error = _standard_error(top, metric, rows)
    close = [attempt for attempt in front if _score(attempt, metric) >= _score(top, metric) - error]
    chosen = min(close, key=lambda attempt: _loss(attempt, metric))
    if sum(map(len, tried.values())) == 1:
        return chosen, []
    why = (
        f", the least loss of those within one standard error ({error:.3f}) of the best, {top.metrics[metric]:.3f}"
        if chosen is not top
        else ""
    )
    loss_too = " and loss" if "loss" in top.metrics else ""
    table = "; ".join(f"{analyzer} {', '.join(entries)}" for analyzer, entries in tried.items())
    said = (
        f"Chosen by dev {metric}: linear.analyzer {chosen.analyzer}, linear.c {chosen.c:g} "
        f"({chosen.metrics[metric]:.3f}{why}). Tried, each c with its {metric}{loss_too}: {table}."
    )
    log.info(said)
    return chosen, [said]


def _entry(attempt: Attempt, metric: str) -> str:
    figures = [attempt.metrics[name] for name in (metric, "loss") if name in attempt.metrics]
    return " ".join([f"{attempt.c:g}", *(f"{figure:.3f}" for figure in figures)])


def _score(attempt: Attempt, metric: str) -> float:
    """The metric, more being better."""
    return -attempt.metrics[metric] if metric in LOWER else attempt.metrics[metric]


def _loss(attempt: Attempt, metric: str) -> float:
    return attempt.metrics.get("loss", -_score(attempt, metric))


def _covers(one: Attempt, other: Attempt, metric: str) -> bool:
    """Whether `other` is nowhere better, so that it need not be kept."""
    return _score(one, metric) >= _score(other, metric) and _loss(one, metric) <= _loss(other, metric)


def _standard_error(attempt: Attempt, metric: str, rows: int) -> float:
    """Of a metric from 0 to 1 over so many dev rows: of an AUC by the rarer label, else as of a share."""
    if "loss" not in attempt.metrics:
        return 0.0
    if metric == "auc":
        return attempt.metrics["auc_noise"] / 1.96
    share = attempt.metrics[metric]
    return math.sqrt(share * (1 - share) / rows)


def values_of_c(spec: Params) -> list[float]:
    """The values of `linear.c` to try, the strongest penalty first."""
    given = spec.linear.c
    return sorted(set(map(float, given))) if isinstance(given, list) else [float(given)]


def _analyzers(spec: Params, found: Ngrams) -> dict[str, tuple[str, ...]]:
    if spec.linear.analyzer == "auto":
        return {name: units for name, units in UNITS.items() if set(units) <= set(found.vectorizers)}
    return {spec.linear.analyzer: tuple(found.vectorizers)}
