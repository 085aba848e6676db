"""Cluster bootstrap: intervals and p-values that resample whole groups, so that rows of one group stay together.

Percentile intervals (Efron and Tibshirani 1993, chapter 13): they hold for any metric, stay inside its range and agree
with the p-value. The same groups, number and seed give the same resamples, so replicates of two models are paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from retune.evaluation.measure import A, Measure
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    import polars as pl

CELLS = 1 << 19
"""Resamples are measured in blocks of about this many (resample, row) cells: 4 MB an array, which caches hold."""


def group_codes(groups: pl.Series) -> Integers:
    """Give each row the number of its group by name, [n] from 0 on, so that the order of the rows does not matter."""
    return (groups.rank("dense").to_numpy() - 1).astype(np.int64)


def resamples(groups: int, times: int, seed: int, rows: int) -> Iterator[Floats]:
    """How often each group is drawn, as blocks [b, groups] that add up to `times` resamples of `groups` draws."""
    generator = np.random.default_rng(seed)
    block = max(1, CELLS // max(groups, rows))
    for start in range(0, times, block):
        size = min(block, times - start)
        drawn = generator.integers(0, groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups).astype(np.float64)


def replicates(
    measure: Measure[A], models: list[A], groups: Integers, times: int, seed: int
) -> list[dict[str, Floats]]:
    """Every metric of every model on the same resamples of the groups: for each model {metric: [times]}.

    `groups` [n] numbers the group of each row from 0 on. NaN marks resamples on which a metric has no meaning.
    """
    orders = [measure.order(answers) for answers in models]
    ordered = [answers.take(order) for answers, order in zip(models, orders, strict=True)]
    columns = [groups[order] for order in orders]
    blocks: list[list[dict[str, Floats]]] = [[] for _ in models]
    for counts in resamples(int(groups.max()) + 1, times, seed, len(groups)):
        for i, answers in enumerate(ordered):
            blocks[i].append(measure.values(answers, np.take(counts, columns[i], axis=1)))
    return [
        {metric: np.concatenate([part[metric] for part in parts]) for metric in measure.metrics} for parts in blocks
    ]


def interval(replicated: Floats, confidence: float) -> tuple[float, float] | None:
    """Take the percentile interval of the replicates [B] that are not NaN; None if all are."""
    defined = replicated[~np.isnan(replicated)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def centred(replicated: Floats, value: float) -> Floats:
    """Move the replicates [B] so that their mean is `value`.

    For the calibration error only: it is a sum of absolute values, so the noise that resampling adds makes it larger,
    and the plain percentiles of a well calibrated model could all lie above the measured value.
    """
    defined = replicated[~np.isnan(replicated)]
    return replicated + (value - defined.mean()) if len(defined) else replicated


def p_value(differences: Floats) -> float | None:
    """Two-sided p of "no difference" from paired replicates [B]: twice the smaller share on either side of 0.

    One is added to count and number (Davison and Hinkley 1997, section 4.2), so it is never 0. A difference of 0 counts
    on both sides, so a model against itself gives 1. None if every replicate is NaN.
    """
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return None
    side = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (1 + side) / (1 + len(defined)))
