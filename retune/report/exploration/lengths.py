"""Lengths by split: quantiles, and histograms over bins that all splits share."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

BINS = 32
QUANTILES = {"p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}


def of(values: dict[str, pl.Series]) -> dict[str, Any]:
    """`splits` (mean, quantiles and greatest value of each), and `histogram`.

    A histogram has `start` and `width` of its bins and, by split, the share of the values in each; the last bin also
    holds what is longer (longer than the 99.5th percentile of all).
    """
    every = pl.concat(list(values.values())).to_numpy()
    low, high = (int(every.min()), int(np.quantile(every, 0.995, method="higher"))) if len(every) else (0, 0)
    width = max(1, -(-(high - low + 1) // BINS))
    count = max(1, -(-(high - low + 1) // width))
    shares = {name: _shares(part.cast(pl.Int64), low, width, count) for name, part in values.items()}
    return {
        "splits": {name: summary(part) for name, part in values.items()},
        "histogram": {"start": low, "width": width, "shares": shares},
    }


def summary(values: pl.Series) -> dict[str, float]:
    """Mean, quantiles and maximum of lengths; zeros where there are none."""
    lengths = values.to_numpy() if len(values) else np.zeros(1)
    found = {name: np.quantile(lengths, q, method="higher") for name, q in QUANTILES.items()}
    found |= {"mean": lengths.mean(), "max": lengths.max()}
    return {name: round(float(value), 2) for name, value in found.items()}


def _shares(values: pl.Series, low: int, width: int, count: int) -> list[float]:
    bins = ((values - low) // width).clip(0, count - 1)
    rows = dict(bins.value_counts().rows())
    return [round(rows.get(place, 0) / max(len(values), 1), 6) for place in range(count)]
