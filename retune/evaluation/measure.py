"""How answers of one sort are measured: their metrics, of one set of row weights or of a matrix of resamples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from retune.evaluation.calibration_error import root
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from typing import Protocol, Self

    class Answers(Protocol):
        """One model's answers to n rows: each of its arrays is [n], or the same for all rows."""

        def take(self, order: Integers, /) -> Self:
            """Put the rows in another order, or take some of them."""
            ...

        def beside(self, other: Self, /) -> Self:
            """These answers, then another model's to the same rows: 2n rows."""
            ...


A = TypeVar("A", bound="Answers")

SHARE, CORRELATION, ERROR = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)
"""Between which values a metric lies."""


@dataclass(frozen=True)
class Measure(Generic[A]):
    """The metrics of answers A.

    `metrics`: their names, in the order of the report. `values(answers, weights)`: all of them, each [...], of row
    weights [..., n]; NaN where one has no meaning. `order(answers)`: [n], the order of the rows in which they are
    measured fastest. `squares`: the metrics whose values are debiased squares (`calibration_error`), of which the root
    is reported. `counted(answers)`: {metric: [n]}, the rows of which a metric counts some only. `ranges`: between which
    values a metric lies, for those whose interval is taken on a scale without such limits.
    """

    metrics: tuple[str, ...]
    values: Callable[[A, Floats], dict[str, Floats]]
    order: Callable[[A], Integers]
    squares: tuple[str, ...] = ()
    counted: Callable[[A], dict[str, Integers]] = lambda _: {}
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def shown(self, metric: str, values: Floats) -> Floats:
        """Values as they are reported."""
        return root(values) if metric in self.squares else values
