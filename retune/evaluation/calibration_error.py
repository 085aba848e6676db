"""Calibration error without the bias of few rows: the debiased squared error of Kumar, Liang and Ma (2019).

In each of `BINS` bins of equal width lies a gap, mean probability minus share of outcomes. Even a perfect model has
gaps, by chance, so their plain sum (the ECE of Guo et al. 2017) is too large, most so where rows are few. The square of
a gap can be freed of that exactly: its own variance is subtracted. Rows of one group share their chance, so the
variance is that of whole groups; a bin with a single group says nothing about it, and adds nothing.

The squares may add up to less than 0. What is reported is the root of what is above 0, in units of probability.
"""

from __future__ import annotations

import itertools

import numpy as np

from retune.evaluation.weighted import Floats, Integers, ratio, total

BINS = 15


def bin_index(probabilities: Floats, bins: int = BINS) -> Integers:
    """Sort each probability into its bin, [n]: (0, 1/bins] is bin 0, which takes 0 as well."""
    return np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], probabilities, side="left")


def squared(
    outcomes: Integers, probabilities: Floats, groups: Integers | None, weights: Floats, bins: int = BINS
) -> Floats:
    """The debiased mean squared gap, [...], from outcomes (0 or 1), probabilities and groups [n] (None: each row one).

    The rows of a group have one weight, how often the group is there.
    """
    bin_of = bin_index(probabilities, bins)
    groups = np.arange(len(bin_of)) if groups is None else groups
    order = np.lexsort((groups, bin_of))
    bin_of, groups = bin_of[order], groups[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (bin_of[1:] != bin_of[:-1]) | (groups[1:] != groups[:-1])
    starts = np.flatnonzero(first)  # of each cell: the rows of one group in one bin
    rows = np.diff(np.append(starts, len(order))).astype(np.float64)
    gaps = np.add.reduceat((probabilities - outcomes)[order], starts) if len(starts) else rows
    times = weights[..., order[starts]]
    ends = np.searchsorted(bin_of[starts], np.arange(bins + 1))
    parts = [_bin(rows[a:b], gaps[a:b], times[..., a:b]) for a, b in itertools.pairwise(ends)]
    return ratio(np.sum(parts, axis=0), weights.sum(-1))


def root(square: Floats) -> Floats:
    """The calibration error of a debiased square; 0 where none is shown."""
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def _bin(rows: Floats, gaps: Floats, times: Floats) -> Floats:
    """What one bin adds, [...]: its weight times its debiased squared gap; rows, sums of gaps [C], times [..., C]."""
    weight, present = total(times, rows), times.sum(-1)
    gap = ratio(total(times, gaps), weight, empty=0.0)
    spread = total(times, gaps**2) - 2 * gap * total(times, gaps * rows) + gap**2 * total(times, rows**2)
    variance = ratio(np.maximum(spread, 0.0), weight**2, empty=0.0) * ratio(present, present - 1)
    return np.where(present > 1, weight * (gap**2 - variance), 0.0)
