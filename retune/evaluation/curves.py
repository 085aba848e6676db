"""Points of the ROC, precision-recall and reliability curves, as tables for DVC plots and the report: columns x, y."""

from __future__ import annotations

import numpy as np
import polars as pl

from retune.evaluation.calibration_error import BINS, bin_index
from retune.evaluation.weighted import Floats, Integers

POINTS = 200
"""The most points of a curve; more can't be told apart on a screen."""


def roc(labels: Integers, probabilities: Floats) -> pl.DataFrame:
    """Columns x (false positive rate), y (true positive rate), threshold (null at the start): from (0, 0) to (1, 1).

    No rows where one label is missing.
    """
    threshold, positive, negative = _cumulative(labels, probabilities)
    if not (positive[-1] and negative[-1]):
        positive, negative, threshold = positive[:0], negative[:0], threshold[:0]
    else:
        positive, negative = positive / positive[-1], negative / negative[-1]
    return _thin(pl.DataFrame({"x": negative, "y": positive, "threshold": threshold}, nan_to_null=True))


def precision_recall(labels: Integers, probabilities: Floats) -> pl.DataFrame:
    """Columns x (recall), y (precision), threshold (null at the start): from (0, 1), by convention, to (1, share of 1).

    No rows where label 1 is missing.
    """
    threshold, positive, negative = _cumulative(labels, probabilities)
    if not positive[-1]:
        return _thin(pl.DataFrame({"x": positive[:0], "y": positive[:0], "threshold": threshold[:0]}))
    precision = np.append(1.0, positive[1:] / (positive + negative)[1:])
    table = {"x": positive / positive[-1], "y": precision, "threshold": threshold}
    return _thin(pl.DataFrame(table, nan_to_null=True))


def reliability(labels: Integers, probabilities: Floats, bins: int = BINS) -> pl.DataFrame:
    """Bins that have rows: x (mean probability), y (share of label 1), lower, upper, rows."""
    bin_of = bin_index(probabilities, bins)
    rows = np.bincount(bin_of, minlength=bins)
    used = np.flatnonzero(rows)
    edges = np.linspace(0.0, 1.0, bins + 1)
    return pl.DataFrame(
        {
            "x": np.bincount(bin_of, probabilities, minlength=bins)[used] / rows[used],
            "y": np.bincount(bin_of, labels, minlength=bins)[used] / rows[used],
            "lower": edges[used],
            "upper": edges[used + 1],
            "rows": rows[used],
        }
    )


def _cumulative(labels: Integers, probabilities: Floats) -> tuple[Floats, Floats, Floats]:
    """Distinct probabilities, highest first, rows of label 1 and of 0 at or above each; [L + 1], first none."""
    values, level = np.unique(-probabilities, return_inverse=True)
    positive = np.cumsum(np.bincount(level, weights=labels))
    negative = np.cumsum(np.bincount(level, weights=1 - labels))
    return np.append(np.nan, -values), np.append(0.0, positive), np.append(0.0, negative)


def _thin(curve: pl.DataFrame) -> pl.DataFrame:
    """At most `POINTS` points, evenly spaced by their number, the ends always kept."""
    if len(curve) <= POINTS:
        return curve
    return curve[np.linspace(0, len(curve) - 1, POINTS).round().astype(np.int64)]
