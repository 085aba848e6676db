"""Expected calibration error in bins of equal width (Naeini et al. 2015; Guo et al. 2017).

Each bin adds its share of the weight times |mean probability - share of outcomes|. The width of a bin is fixed, not its
mass, so that every resample is measured with the same bins.
"""

from __future__ import annotations

import itertools

import numpy as np

from retune.evaluation.weighted import Floats, Integers, columns, total

BINS = 15


def bin_index(probabilities: Floats, bins: int = BINS) -> Integers:
    """Sort each probability into its bin, [n]: (0, 1/bins] is bin 0, which takes 0 as well."""
    return np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], probabilities, side="left")


def bin_errors(outcomes: Integers, probabilities: Floats, weights: Floats, bins: int = BINS) -> list[Floats]:
    """What each bin adds, [...] and not yet divided by the weight, from outcomes (0 or 1) and probabilities [n]."""
    bin_of = bin_index(probabilities, bins)
    order = np.argsort(bin_of, kind="stable")
    gaps, ordered = (probabilities - outcomes)[order], columns(weights, order)
    ends = np.searchsorted(bin_of[order], np.arange(bins + 1))
    return [np.abs(total(ordered[..., start:end], gaps[start:end])) for start, end in itertools.pairwise(ends)]
