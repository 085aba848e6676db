"""Cluster bootstrap: intervals that resample whole groups, so that rows of one group stay together.

Of differences, and of metrics to which a measure gives no range, they are percentiles (Efron and Tibshirani 1993,
chapter 13). With few groups these are too narrow, as the normal quantile is beside Student's t; so they are taken
further out, by just that (Hesterberg 2015, "What teachers should know about the bootstrap", section 3.4: expanded
percentiles).

Near an end of a metric's range resamples vary too little, the less the nearer: the percentiles of an AUC that is high
by chance don't reach down to the truth. So a metric with a range has a t interval, by the standard deviation of the
replicates, on a scale that stretches the ends: log-odds between two limits, the root above one.
`benchmarks/intervals.py` measures both.

The same groups, number and seed give the same resamples, so replicates of two models are paired.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from retune.evaluation.measure import A, Measure
from retune.evaluation.student_t import quantile
from retune.evaluation.weighted import Floats, Integers

CELLS = 1 << 19
"""Resamples are measured in blocks of about this many (resample, row) cells: 4 MB an array, which caches hold."""

LARGEST = 300.0
"""The longest way on the scale of log-odds, which leads to the end of the range: a longer one would overflow."""


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
    """Every metric of every model on the same resamples of the groups, as reported: for each model {metric: [times]}.

    `groups` [n] numbers the group of each row from 0 on. NaN marks resamples on which a metric has no meaning.
    """
    orders = [measure.order(answers) for answers in models]
    ordered = [answers.take(order) for answers, order in zip(models, orders, strict=True)]
    columns = [groups[order] for order in orders]
    blocks: list[list[dict[str, Floats]]] = [[] for _ in models]
    for counts in resamples(int(groups.max()) + 1, times, seed, len(groups)):
        for i, answers in enumerate(ordered):
            blocks[i].append(measure.values(answers, np.take(counts, columns[i], axis=1)))
    found = [
        {metric: np.concatenate([part[metric] for part in parts]) for metric in measure.metrics} for parts in blocks
    ]
    for answers, draws in zip(ordered, found, strict=True):
        whole = measure.values(answers, np.ones(len(groups))) if measure.squares else {}
        for metric in measure.squares:
            draws[metric] = measure.shown(metric, centred(draws[metric], float(whole[metric])))
    return found


def centred(replicated: Floats, value: float) -> Floats:
    """Move the replicates [B] so that their mean is `value`.

    For debiased squares only: the noise that resampling adds to a gap makes its square larger by as much as the noise
    of the rows does, and that has been subtracted from the value.
    """
    defined = replicated[~np.isnan(replicated)]
    return replicated + (value - defined.mean()) if len(defined) else replicated


def informative(measure: Measure[A], answers: A, groups: Integers) -> dict[str, int]:
    """The number of groups that have a row which counts in a metric, by metric."""
    counted = measure.counted(answers)
    rows = {metric: groups[counted[metric]] if metric in counted else groups for metric in measure.metrics}
    return {metric: len(np.unique(codes)) for metric, codes in rows.items()}


def expanded(confidence: float, groups: int) -> float:
    """The share of the replicates that an interval of `confidence` over so many groups (at least 2) holds."""
    distance = math.sqrt(groups / (groups - 1)) * quantile(confidence, groups - 1)
    return 1.0 - math.erfc(distance / math.sqrt(2))


def t_interval(
    value: float, replicated: Floats, confidence: float, groups: int, limits: tuple[float, float]
) -> tuple[float, float] | None:
    """Student's t with `groups` - 1 degrees of freedom around a value between the limits, by its replicates [B].

    The standard error is taken to the scale of the interval by its slope at the value. A value at a limit has no such
    scale, so it gets the percentiles. None as for `interval`.
    """
    low, high = limits
    known = replicated[~np.isnan(replicated)]
    if groups < 2 or not len(known) or not low < value < high:
        return interval(replicated, confidence, groups)
    reach = quantile(confidence, groups - 1) * math.sqrt(groups / (groups - 1)) * float(known.std())
    if math.isinf(high):
        root = math.sqrt(value - low)
        step = reach / (2 * root)
        return low + max(0.0, root - step) ** 2, low + (root + step) ** 2
    span, place = high - low, (value - low) / (high - low)
    factor = math.exp(min(reach / (span * place * (1 - place)), LARGEST))
    odds = place / (1 - place)
    return low + span * (odds / factor) / (1 + odds / factor), low + span * (odds * factor) / (1 + odds * factor)


def interval(replicated: Floats, confidence: float, groups: int) -> tuple[float, float] | None:
    """Take the expanded percentiles of the replicates [B] that are not NaN; None if all are, or of a single group."""
    defined = replicated[~np.isnan(replicated)]
    if not len(defined) or groups < 2:
        return None
    share = expanded(confidence, groups)
    low, high = np.quantile(defined, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
