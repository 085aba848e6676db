"""Is the difference of two models chance? A randomisation test that swaps their answers group by group.

If the models are equally good, it is chance which of the two gave which answers to a group; so the difference between
them is measured again with the answers of random groups swapped, and p is how often it is at least as large (Fisher
1935; Noreen 1989; of rows that depend on each other, only whole groups may be swapped). It holds its level at any
number of groups, which a bootstrap does not. With few groups all swaps are tried, and p is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from retune.evaluation.bootstrap import CELLS
from retune.evaluation.measure import A, Measure
from retune.evaluation.weighted import Floats, Integers

SAME = 1e-9
"""Two differences that are as near as this are the same."""


class P(NamedTuple):
    """Two-sided p; `at_most`: not one of the random swaps was as large, so p is this or smaller."""

    value: float
    at_most: bool


def swap_test(measure: Measure[A], a: A, b: A, groups: Integers, times: int, seed: int) -> dict[str, P | None]:
    """The p of "no difference" of every metric, from `times` swaps, or all if there are no more; None where undefined.

    `groups` [n] numbers the group of each row from 0 on. The identity counts among random swaps (Davison and Hinkley
    1997, section 4.2), so p is never 0.
    """
    both, rows = a.beside(b), len(groups)
    order = measure.order(both)
    both, from_b = both.take(order), order >= rows
    column = groups[order % rows]
    observed = _difference(measure, both, from_b.astype(np.float64)[None, :])
    counts = dict.fromkeys(measure.metrics, 0)
    defined = dict.fromkeys(measure.metrics, 0)
    total = int(groups.max()) + 1
    exact = every(total, times)
    for swapped in swaps(total, times, seed, 2 * rows):
        found = _difference(measure, both, np.abs(np.take(swapped, column, axis=1) - from_b))
        for metric, values in found.items():
            counts[metric] += int((np.abs(values) >= np.abs(observed[metric]) - SAME).sum())
            defined[metric] += int((~np.isnan(values)).sum())
    result: dict[str, P | None] = {}
    for metric in measure.metrics:
        if np.isnan(observed[metric][0]):
            result[metric] = None
        elif exact:
            result[metric] = P(counts[metric] / defined[metric], False)
        else:
            result[metric] = P((1 + counts[metric]) / (1 + defined[metric]), counts[metric] == 0)
    return result


def every(groups: int, times: int) -> bool:
    """Whether all swaps are tried: a swap and its mirror image differ in sign only, so half of them are enough."""
    return groups <= 64 and 1 << (groups - 1) <= times


def swaps(groups: int, times: int, seed: int, rows: int) -> Iterator[Floats]:
    """Whether each group is swapped (1 or 0), as blocks [b, groups]: all swaps but for the sign, or `times` random."""
    block = max(1, CELLS // max(groups, rows))
    if every(groups, times):
        numbers = np.arange(1 << (groups - 1))  # the last group stays
        for start in range(0, len(numbers), block):
            yield ((numbers[start : start + block, None] >> np.arange(groups)) & 1).astype(np.float64)
        return
    generator = np.random.default_rng([seed, 1])  # other numbers than those of the bootstrap
    for start in range(0, times, block):
        yield generator.integers(0, 2, size=(min(block, times - start), groups)).astype(np.float64)


def _difference(measure: Measure[A], both: A, second: Floats) -> dict[str, Floats]:
    """Every metric of one mixture of the 2n answers minus that of the rest, [b]; `second` [b, 2n]: 1 in the rest."""
    one, other = measure.values(both, 1.0 - second), measure.values(both, second)
    return {name: measure.shown(name, one[name]) - measure.shown(name, other[name]) for name in measure.metrics}
