"""Two revisions of one model on the same test rows: whether the later one is shown to be better or worse.

The difference is paired: both revisions' answers to the same rows are resampled together (its interval), and swapped
group by group (its p), as those of two models are (`retune.evaluation.comparison`). Better or worse is said where p,
corrected by Holm's method for all models of the gate that changed, is below 1 - confidence, as in the report.

A regression is a model that is worse by more than its tolerance: without one any loss that is shown, else one whose
whole interval lies beyond it. Where the interval merely reaches beyond the tolerance, nothing is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from retune.evaluation.bootstrap import informative, interval, replicates
from retune.evaluation.comparison import holm
from retune.evaluation.intervals import finite, point
from retune.evaluation.measure import A, Measure
from retune.evaluation.swaps import swap_test
from retune.evaluation.weighted import Integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retune.params import Params

Verdict = Literal["unchanged", "better", "worse", "no evidence"]


@dataclass(frozen=True)
class Change:
    """A metric before and after, `difference` after minus before, its interval, and its p (`at_most`: or less).

    None where it has no meaning. `worse_by` is the tolerance, `alpha` 1 - confidence; `p` is corrected by `corrected`.
    """

    before: float | None
    after: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    at_most: bool
    more_is_better: bool
    worse_by: float
    alpha: float
    same: bool = False

    @property
    def gain(self) -> tuple[float, float] | None:
        """The interval with its signs so that a gain is positive; None where there is none."""
        if self.low is None or self.high is None:
            return None
        return (self.low, self.high) if self.more_is_better else (-self.high, -self.low)

    @property
    def verdict(self) -> Verdict:
        """What is shown of the later revision; `unchanged`: it gives the same answers."""
        if self.same:
            return "unchanged"
        if self.difference is None or self.p is None or self.p >= self.alpha or self.difference == 0:
            return "no evidence"
        return "better" if (self.difference > 0) == self.more_is_better else "worse"

    @property
    def regression(self) -> bool:
        """Whether it is shown to be worse by more than the tolerance."""
        beyond = self.worse_by == 0 or (self.gain is not None and self.gain[1] < -self.worse_by)
        return self.verdict == "worse" and beyond

    @property
    def within(self) -> bool:
        """Whether a loss beyond the tolerance is excluded: the interval does not reach so far."""
        return self.same or (self.gain is not None and self.gain[0] >= -self.worse_by)


def change(
    measure: Measure[A],
    metric: str,
    answers: tuple[A, A],
    groups: Integers,
    spec: Params,
    *,
    more_is_better: bool,
    worse_by: float = 0.0,
    times: int | None = None,
) -> Change:
    """One metric of the answers before and after, both to the same rows with `groups` [n], numbered from 0 on.

    `spec` is the task's `evaluation` section, `times` the number of resamples and swaps (default: its `bootstrap`). `p`
    is not corrected yet.
    """
    values = [finite(point(measure, one)[metric]) for one in answers]
    alpha = round(1 - spec.confidence, 6)
    if same(*answers):
        return Change(values[0], values[1], 0.0, 0.0, 0.0, 1.0, False, more_is_better, worse_by, alpha, same=True)
    count = times or spec.bootstrap
    before, after = (drawn[metric] for drawn in replicates(measure, list(answers), groups, count, spec.seed))
    low, high = (
        interval(after - before, spec.confidence, informative(measure, answers[0], groups)[metric]) or (None,) * 2
    )
    p, at_most = swap_test(measure, *answers, groups, count, spec.seed)[metric] or (None, False)
    difference = None if values[0] is None or values[1] is None else values[1] - values[0]
    return Change(
        values[0], values[1], difference, low, high, p, at_most, more_is_better=more_is_better, worse_by=worse_by,
        alpha=alpha,
    )  # fmt: skip


def same(a: A, b: A) -> bool:
    """Whether two revisions answer all rows alike."""
    return all(
        np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
        for one, other in zip(a, b, strict=True)  # type: ignore[call-overload]
    )


def corrected(changes: Sequence[Change]) -> list[Change]:
    """The changes of one gate with p by Holm's method for their number, without those that change no answer."""
    p = holm([None if one.same else one.p for one in changes])
    return [
        one if value is None else replace(one, p=value, at_most=one.at_most and value < 1)
        for one, value in zip(changes, p, strict=True)
    ]


def times_for(changed: int, wanted: int, confidence: float) -> int:
    """`wanted` resamples, or more where so many models changed that no corrected p could fall below 1 - confidence."""
    return max(wanted, math.ceil(2 * changed / (1 - confidence)))
