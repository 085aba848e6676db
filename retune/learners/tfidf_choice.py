"""N-grams and the strength of the penalty of a linear model, chosen on dev among a few."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

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
    spec: Params, found: Ngrams, metric: str, attempts: Callable[[str, Sequence[str]], Iterator[Attempt]]
) -> tuple[Attempt, list[str]]:
    """The attempt with the best dev `metric`, and sentences for the record; among equals the first.

    `attempts(analyzer, units)` fits one model after the other, `values_of_c` in turn, so that each may begin at the
    weights of the one before.
    """
    chosen: Attempt | None = None
    tried: dict[str, list[tuple[float, float]]] = {}
    for analyzer, units in _analyzers(spec, found).items():
        leader: Attempt | None = None
        worse = 0
        for attempt in attempts(analyzer, units):
            tried.setdefault(analyzer, []).append((attempt.c, attempt.metrics[metric]))
            if leader is None or _better(attempt, leader, metric):
                leader, worse = attempt, 0
                continue
            # The loss, where there is one, must agree: it moves evenly, a macro-F1 of rare labels does not.
            doubts = [name for name in {metric, "loss"} & set(leader.metrics) if not _better(leader, attempt, name)]
            worse = 0 if doubts else worse + 1
            if worse == WORSE:
                break
        assert leader is not None
        if chosen is None or _better(leader, chosen, metric):
            chosen = leader
    assert chosen is not None
    if sum(map(len, tried.values())) == 1:
        return chosen, []
    table = "; ".join(
        f"{analyzer} " + ", ".join(f"{c:g} {value:.3f}" for c, value in values) for analyzer, values in tried.items()
    )
    said = (
        f"Chosen by dev {metric}: linear.analyzer {chosen.analyzer}, linear.c {chosen.c:g} "
        f"({chosen.metrics[metric]:.3f}). Tried, each c with its {metric}: {table}."
    )
    log.info(said)
    return chosen, [said]


def values_of_c(spec: Params) -> list[float]:
    """The values of `linear.c` to try, the strongest penalty first."""
    given = spec.linear.c
    return sorted(set(map(float, given))) if isinstance(given, list) else [float(given)]


def _analyzers(spec: Params, found: Ngrams) -> dict[str, tuple[str, ...]]:
    if spec.linear.analyzer == "auto":
        return {name: units for name, units in UNITS.items() if set(units) <= set(found.vectorizers)}
    return {spec.linear.analyzer: tuple(found.vectorizers)}


def _better(one: Attempt, other: Attempt, metric: str) -> bool:
    if metric in LOWER:
        return one.metrics[metric] < other.metrics[metric]
    return one.metrics[metric] > other.metrics[metric]
