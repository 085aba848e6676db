"""What an abstention keeps of its promise on the test rows, and the errors at every share of answered rows.

Coverage is the share of rows that are answered, the error the share of these that is wrong. The curve orders rows by
confidence, the surest first; AURC, the area under it, is the mean over all rows of the error among the rows that are at
least as sure (Geifman, Uziel and El-Yaniv 2019): 0 without errors, the plain error where confidence says nothing. An
answer that names no label is never given, and wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from retune.evaluation import groups, intervals
from retune.evaluation.abstention import Decisions, decisions
from retune.evaluation.measure import SHARE, Measure
from retune.evaluation.weighted import Floats, Integers, columns, ratio, total

if TYPE_CHECKING:
    from retune.params import Params

NONE = "none_of_these"
METRICS = ("coverage", "error", "error_of_all", "aurc", NONE)
POINTS = tuple(round(0.02 * place, 2) for place in range(1, 51))
"""Shares of answered rows at which the curve is measured."""


class Kept(NamedTuple):
    """The decisions of n rows, the surest first where they are measured; whether a row is answered, or of none."""

    confidences: Floats
    wrong: Integers
    answered: Integers
    none: Integers

    def take(self, order: Integers) -> Kept:
        """Put the rows in another order."""
        confidences, wrong, answered, none = self
        return Kept(confidences[order], wrong[order], answered[order], none[order])

    def beside(self, other: Kept) -> Kept:
        """These rows, then those of another model."""
        confidences, wrong, answered, none = (np.concatenate(pair) for pair in zip(self, other, strict=True))
        return Kept(confidences, wrong, answered, none)


def kept(given: Decisions, fitted: dict[str, Any]) -> Kept:
    """Which decisions are given, by `abstain_below` and `none_below` of what was fitted."""
    none = given.confidences < fitted.get("none_below", 0.0)
    answered = given.confidences >= fitted["abstain_below"]
    return Kept(given.confidences, given.wrong, answered.astype(np.int64), none.astype(np.int64))


def order(given: Kept) -> Integers:
    """The surest first."""
    return np.argsort(-given.confidences, kind="stable")


def measure(given: Kept, weights: Floats) -> dict[str, Floats]:
    """All of `METRICS`, each [...] of weights [..., n]; `none_of_these` is the share that is said to be of none."""
    weight = weights.sum(-1)
    wrong, rows, ends = _cumulated(given, weights)
    area = (columns(weights, order(given)) * ratio(wrong, rows, empty=0.0)[..., ends]).sum(-1)
    return {
        "coverage": ratio(total(weights, given.answered), weight),
        "error": ratio(total(weights, given.answered * given.wrong), total(weights, given.answered)),
        "error_of_all": ratio(total(weights, given.wrong), weight),
        "aurc": ratio(area, weight),
        NONE: ratio(total(weights, given.none), weight),
    }


def curve_points(given: Kept, weights: Floats) -> dict[str, Floats]:
    """The error of the surest rows, for each of `POINTS` as its text; rows that are as sure come in together."""
    wrong, rows, ends = _cumulated(given, weights)
    found = {}
    for share in POINTS:
        enough = rows < (share - 1e-9) * rows[..., -1:]
        last = ends[np.minimum(enough.sum(-1), len(ends) - 1)]
        some_wrong, some = (np.take_along_axis(sums, last[..., None], -1)[..., 0] for sums in (wrong, rows))
        found[f"{share:g}"] = ratio(some_wrong, some)
    return found


def _cumulated(given: Kept, weights: Floats) -> tuple[Floats, Floats, Integers]:
    """Weight of the wrong rows and of all up to each row [..., n], the surest first; the last row that is as sure."""
    placed = order(given)
    weighted, sure = columns(weights, placed), given.confidences[placed]
    _, level = np.unique(-sure, return_inverse=True)
    ends = np.searchsorted(level, level, side="right") - 1
    return (weighted * given.wrong[placed]).cumsum(-1), weighted.cumsum(-1), ends


MEASURE = Measure(METRICS, measure, order, ranges=dict.fromkeys(METRICS, SHARE))
NAMES = tuple(f"{share:g}" for share in POINTS)
CURVE = Measure(NAMES, curve_points, order, ranges=dict.fromkeys(NAMES, SHARE))


def write(folder: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params) -> dict[str, Any]:
    """Write the curve of joined test rows into the folder `plots` of `folder`; {abstention: `metrics`} for the metrics.

    Nothing of a model that answers every row; `spec` is its task's section `evaluation`.
    """
    if "abstain_below" not in fitted:
        return {}
    given, of = kept(decisions(joined, fitted, spec), fitted), groups.codes(joined["group"])
    curve(given, of, spec).write_csv(folder / "plots/risk_coverage.csv")
    found = metrics(given, of, spec)
    return {"abstention": {key: value for key, value in found.items() if key != NONE or "none_below" in fitted}}


def metrics(given: Kept, of: Integers, spec: Params) -> dict[str, Any]:
    """{metric: {value, low, high}} of rows in groups `of` [n], by resamples of the groups."""
    return intervals.metrics_with_intervals(MEASURE, given, of, spec)


def curve(given: Kept, of: Integers, spec: Params) -> pl.DataFrame:
    """Columns x (share of the rows that is answered), y (error of these), low, high."""
    found = intervals.metrics_with_intervals(CURVE, given, of, spec)
    rows = [[share, *found[name].values()][:4] for share, name in zip(POINTS, NAMES, strict=True)]
    return pl.DataFrame(rows, schema=dict.fromkeys(("x", "y", "low", "high"), pl.Float64), orient="row")
