"""Weighted metrics of estimated scores, for one set of row weights or for a matrix of bootstrap resamples.

Every metric is float64 [...] of `weights` [..., n], and NaN where it has no meaning: a correlation with what does not
vary, anything without rows. Where an estimate must be a whole score it is rounded, halves upwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from retune.evaluation.weighted import Floats, Integers, columns, ratio, total

METRICS = ("mae", "rmse", "pearson", "spearman", "bin_accuracy", "kappa", "exact", "within_1")
"""The reported metrics, in this order."""

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
        "pearson": correlation(given.gold, given.estimates, weights),
        "spearman": correlation(midranks(given.gold, weights), midranks(given.estimates, weights), weights),
        "bin_accuracy": share(alike),
        "kappa": kappa(given.gold, decided, weights),
        "exact": share(near == 0),
        "within_1": share(near <= 1),
    }


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
    """Cohen's kappa with quadratic weights (Cohen 1968) of whole scores [n].

    The expected squared difference of independent answers needs no table: it is that of the means, and both variances.
    """
    weight = weights.sum(-1)
    means = [ratio(total(weights, values), weight) for values in (gold, decided)]
    squares = [ratio(total(weights, values**2), weight) for values in (gold, decided)]
    expected = squares[0] + squares[1] - 2 * means[0] * means[1]
    found = ratio(total(weights, (gold - decided) ** 2), weight)
    agreement: Floats = 1.0 - ratio(found, np.where(expected > 1e-12, expected, 0.0))
    return np.round(agreement, 12) + 0.0  # a constant has 0, not -0


def _sum(weights: Floats, values: Floats) -> Floats:
    """Weighted sum over the rows, [...], of values [n] or [..., n]."""
    return np.asarray(np.einsum("...n,...n->...", weights, values))
