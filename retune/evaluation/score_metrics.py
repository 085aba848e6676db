"""Weighted metrics of estimated scores, for one set of row weights or for a matrix of bootstrap resamples.

Every metric is float64 [...] of `weights` [..., n], and NaN where it has no meaning, as without rows. Where an estimate
must be a whole score it is rounded, halves upwards.

Correlations and kappa are taken within each dimension and averaged, by its rows: over all rows together they would
reward a model that knows no more than which dimension has the higher scores. A dimension whose gold scores don't vary
is left out; estimates that don't vary have the correlation 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from retune.evaluation.weighted import Floats, Integers, columns, ratio, total

METRICS = ("mae", "rmse", "pearson", "spearman", "bin_accuracy", "kappa", "exact", "within_1")
"""The reported metrics, in this order."""

Agreement = Callable[[Floats, Floats, Floats], Floats]
"""Of gold scores [n], values [n] and weights [..., n]: [...]."""

TINY = 1e-24
"""A variance below this share of the mean square is rounding, not variation."""


class ScoreAnswers(NamedTuple):
    """The estimates of one model for n rows; `limits` and `bins` are the same for all rows."""

    gold: Floats  # [n]
    estimates: Floats  # [n], within the limits; the end that is farther from the gold score where there is no answer
    seen: np.ndarray  # [n], whether there is an answer
    levels: Floats  # [n], the training mean of the row's dimension
    dimensions: Integers  # [n], the place of the row's dimension in the task's list
    limits: tuple[int, int]  # lowest and highest score
    bins: tuple[int, ...]  # the scores at which a new bin begins, but for the first

    def take(self, order: Integers) -> ScoreAnswers:
        """Put the rows in another order, or take some of them."""
        gold, estimates, seen, levels, dimensions, limits, bins = self
        rows = (gold[order], estimates[order], seen[order], levels[order], dimensions[order])
        return ScoreAnswers(*rows, limits, bins)

    def beside(self, other: ScoreAnswers) -> ScoreAnswers:
        """These answers, then another model's to the same rows."""
        gold, estimates, seen, levels, dimensions = (
            np.concatenate(pair) for pair in zip(self[:5], other[:5], strict=True)
        )
        return ScoreAnswers(gold, estimates, seen, levels, dimensions, self.limits, self.bins)


def rounded(estimates: Floats, limits: tuple[int, int]) -> Floats:
    """Whole scores, halves upwards, within the limits."""
    whole: Floats = np.clip(np.floor(estimates + 0.5), *limits)
    return whole


def bin_of(scores: Floats, bins: tuple[int, ...]) -> Integers:
    """The bin of each whole score, from 0 on."""
    return np.searchsorted(np.asarray(bins, dtype=np.float64), scores, side="right")


def measure(given: ScoreAnswers, weights: Floats) -> dict[str, Floats]:
    """All of `METRICS`, each [...]."""
    weight = weights.sum(-1)
    errors = np.abs(given.estimates - given.gold)
    decided = rounded(given.estimates, given.limits)
    near = np.abs(decided - given.gold)
    alike = bin_of(decided, given.bins) == bin_of(given.gold, given.bins)

    def share(rows: np.ndarray) -> Floats:
        return ratio(total(weights, (rows & given.seen).astype(np.int64)), weight)

    return {
        "mae": ratio(total(weights, errors), weight),
        "rmse": np.sqrt(ratio(total(weights, errors**2), weight)),
        "pearson": within(pearson, given, given.estimates, weights),
        "spearman": within(spearman, given, given.estimates, weights),
        "bin_accuracy": share(alike),
        "kappa": within(kappa, given, decided, weights),
        "exact": share(near == 0),
        "within_1": share(near <= 1),
    }


def within(of: Agreement, given: ScoreAnswers, values: Floats, weights: Floats) -> Floats:
    """The mean over the dimensions, weighted by their rows, of the agreement of gold scores and values [n]."""
    sums, rows = np.zeros(weights.shape[:-1]), np.zeros(weights.shape[:-1])
    for code in np.unique(given.dimensions):
        part = np.flatnonzero(given.dimensions == code)
        weight = columns(weights, part)
        found, size = of(given.gold[part], values[part], weight), weight.sum(-1)
        known = ~np.isnan(found)
        sums += np.where(known, size * np.nan_to_num(found), 0.0)
        rows += np.where(known, size, 0.0)
    return ratio(sums, rows)


def varied(given: ScoreAnswers) -> Integers:
    """The rows of the dimensions whose gold scores vary, which is where an agreement can be measured."""
    names, of = np.unique(given.dimensions, return_inverse=True)
    known = np.array([np.ptp(given.gold[of == place]) > 0 for place in range(len(names))], dtype=bool)
    return np.flatnonzero(known[of])


def pearson(gold: Floats, values: Floats, weights: Floats) -> Floats:
    """Pearson's correlation, [...]: NaN where gold [n] does not vary, 0 where only the values [n] do not."""
    return _zero_where_constant(correlation(gold, values, weights), gold, weights)


def spearman(gold: Floats, values: Floats, weights: Floats) -> Floats:
    """The same of the ranks."""
    return _zero_where_constant(correlation(midranks(gold, weights), midranks(values, weights), weights), gold, weights)


def _zero_where_constant(found: Floats, gold: Floats, weights: Floats) -> Floats:
    """A correlation that is NaN though the gold values vary, as 0."""
    return np.where(np.isnan(found) & _varies(gold, weights), 0.0, found) if np.isnan(found).any() else found


def _varies(values: Floats, weights: Floats) -> np.ndarray:
    """Whether the values [n] of the rows that have a weight differ, [...]."""
    low = np.where(weights > 0, values, np.inf).min(-1, initial=np.inf)
    high = np.where(weights > 0, values, -np.inf).max(-1, initial=-np.inf)
    return np.asarray(high > low)


def correlation(first: Floats, second: Floats, weights: Floats) -> Floats:
    """Pearson's correlation, [...], of values [n] or [..., n]; NaN where one of them does not vary."""
    weight = weights.sum(-1, keepdims=True)
    parts = []
    for values in (first, second):
        mean = ratio(_sum(weights, values)[..., None], weight)
        gaps = values - mean
        spread = _sum(weights, gaps**2)
        varies = spread > TINY * _sum(weights, np.broadcast_to(values**2, gaps.shape))
        parts.append((gaps, np.where(varies, spread, np.nan)))
    (a, spread_a), (b, spread_b) = parts
    found: Floats = np.clip(_sum(weights, a * b) / np.sqrt(spread_a * spread_b), -1.0, 1.0)
    return found


def midranks(values: Floats, weights: Floats) -> Floats:
    """The weighted rank of each row, [..., n], from values [n]; equal ones share the middle of their ranks.

    With whole weights they are, but for a constant, the ranks of rows that occur so often.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    level = np.empty(len(values), dtype=np.int64)
    level[order] = np.cumsum(first) - 1
    own = np.add.reduceat(columns(weights, order), np.flatnonzero(first), axis=-1)
    middle: Floats = np.cumsum(own, axis=-1) - own / 2
    return middle[..., level]


def kappa(gold: Floats, decided: Floats, weights: Floats) -> Floats:
    """Cohen's kappa with quadratic weights (Cohen 1968) of whole scores [n]; NaN where the gold ones do not vary.

    The expected squared difference of independent answers needs no table: it is that of the means, and both variances.
    """
    weight = weights.sum(-1)
    means = [ratio(total(weights, values), weight) for values in (gold, decided)]
    squares = [ratio(total(weights, values**2), weight) for values in (gold, decided)]
    expected = squares[0] + squares[1] - 2 * means[0] * means[1]
    found = ratio(total(weights, (gold - decided) ** 2), weight)
    agreement: Floats = 1.0 - ratio(found, np.where(expected > 1e-12, expected, 0.0))
    agreement = np.round(agreement, 12) + 0.0  # a constant has 0, not -0
    return np.where(_varies(gold, weights), agreement, np.nan)


def _sum(weights: Floats, values: Floats) -> Floats:
    """Weighted sum over the rows, [...], of values [n] or [..., n]."""
    return np.asarray(np.einsum("...n,...n->...", weights, values))
