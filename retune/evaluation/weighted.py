"""Sums and ratios over weighted rows, for one set of weights [n] or for a matrix of bootstrap resamples [B, n]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def total(weights: Floats, values: Floats | Integers) -> Floats:
    """Weighted sum over the rows; not by BLAS, whose last bits depend on the number of threads."""
    return np.asarray(np.einsum("...n,n->...", weights, values.astype(np.float64)))


def ratio(numerator: Floats, denominator: Floats, empty: float = np.nan) -> Floats:
    """`numerator / denominator`, and `empty` where the denominator is 0."""
    result = np.full(np.shape(numerator), empty)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def columns(weights: Floats, order: Integers) -> Floats:
    """`weights[..., order]` of all rows or some, without a copy where the order is already right."""
    return weights if np.array_equal(order, np.arange(weights.shape[-1])) else weights[..., order]


def by_code(weights: Floats, codes: Integers, count: int) -> Floats:
    """Weight of the rows of each code, [..., count] from codes [n] below `count`; negative codes are left out."""
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(count + 1))
    sums = np.zeros((*weights.shape[:-1], count))
    for code in np.flatnonzero(np.diff(starts)):
        sums[..., code] = weights[..., order[starts[code] : starts[code + 1]]].sum(-1)
    return sums
