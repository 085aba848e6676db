"""Models that were trained once for each of several seeds: their mean, their spread, and their differences.

A difference of two means over seeds would be another one on other test rows, and with other seeds. The variance by rows
is that of the bootstrap over groups, in which all seeds of all models get the same resamples. The variance by seeds is
that of the metric over the seeds (a random effect), less the part of it that is chance of these rows and that the
bootstrap has counted already: how differently resamples treat the seeds of one model. Interval and p are Student's t
over the sum of both, with degrees of freedom after Satterthwaite (1946). Drawing the seeds with replacement, beside the
groups, would count that part three times (Owen 2007, "The pigeonhole bootstrap"), and three seeds too few of another.

Of a model that was trained once nothing says how much its seed matters: it is taken to vary as the other model of the
pair does. A mean of the members' answers (an ensemble) varies as the mean of their metrics does, at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import numpy as np

from retune.evaluation.bootstrap import interval, t_interval
from retune.evaluation.intervals import finite, point
from retune.evaluation.measure import A, Measure
from retune.evaluation.student_t import quantile, two_sided
from retune.evaluation.weighted import Floats


@dataclass(frozen=True)
class Seeded(Generic[A]):
    """How the models of a task belong together by seed.

    `members`: model -> the answers of its trainings with the further seeds; `ensembles`: name -> the model whose seeds
    it is the mean of; `fixed`: the models that no seed changes.
    """

    members: Mapping[str, Sequence[A]] = field(default_factory=dict)
    ensembles: Mapping[str, str] = field(default_factory=dict)
    fixed: Sequence[str] = ()

    def varies(self, *names: str) -> bool:
        """Whether one of these models has several seeds, or is made of them."""
        return any(name in self.members or name in self.ensembles for name in names)


@dataclass(frozen=True)
class System:
    """One model in one metric: its value and its replicates [B] for each seed.

    `fixed`: no seed changes it, so one training says all. `of`: for an ensemble, the model whose seeds it is the mean
    of.
    """

    values: Sequence[float]
    draws: Sequence[Floats]
    fixed: bool = False
    of: System | None = None

    @property
    def seeds(self) -> int:
        """How many trainings there are."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The mean of the metric over the seeds."""
        return float(np.mean(self.values))

    @property
    def mean_draws(self) -> Floats:
        """The mean over the seeds on each resample [B]."""
        return np.asarray(np.mean(self.draws, axis=0))


def systems(
    measure: Measure[A],
    compared: Sequence[A],
    replicated: Sequence[dict[str, Floats]],
    names: Sequence[str],
    seeded: Seeded[A],
) -> list[dict[str, System]]:
    """{metric: `System`} of each model in `names`, and then of a constant, which ends `compared`.

    `replicated`: the replicates of `compared`, then of all members, model by model.
    """
    if not seeded.members:
        return []
    ahead, draws = list(replicated[len(compared) :]), list(replicated[: len(compared)])
    found: list[dict[str, System]] = []
    for place, first in enumerate(compared):
        name = names[place] if place < len(names) else None
        answers = [first, *(seeded.members.get(name, ()) if name else ())]
        drawn = [draws[place], *(ahead.pop(0) for _ in answers[1:])]
        values = [point(measure, one) for one in answers]
        found.append(
            {
                metric: System(
                    [v[metric] for v in values], [d[metric] for d in drawn], name is None or name in seeded.fixed
                )
                for metric in measure.metrics
            }
        )
    for name, model in seeded.ensembles.items():
        place, own = names.index(name), found[names.index(model)]
        found[place] = {metric: replace(one, of=own[metric]) for metric, one in found[place].items()}
    return found


@dataclass(frozen=True)
class Spread:
    """How a metric varies over the seeds of a model: `variance` without the chance of the rows, `seen` with it."""

    variance: float
    seen: float
    seeds: int


def spread(system: System, groups: int) -> Spread | None:
    """What the seeds of a model change, measured on rows of so many groups; None of a single training."""
    if system.seeds < 2 or groups < 2:
        return None
    draws = np.stack(system.draws)
    draws = draws[:, ~np.isnan(draws).any(0)]
    seen = float(np.var(system.values, ddof=1))
    if not draws.shape[1]:
        return Spread(seen, seen, system.seeds)
    by_rows = float((draws - draws.mean(0)).var(1).sum()) / (system.seeds - 1) * groups / (groups - 1)
    return Spread(max(0.0, seen - by_rows), seen, system.seeds)


def difference(a: System, b: System, confidence: float, groups: int) -> dict[str, Any]:
    """{difference, low, high, p, at_most} of the first minus the second; null where it has no meaning.

    `groups`: those that have a row which counts in the metric.
    """
    value, drawn = a.mean - b.mean, a.mean_draws - b.mean_draws
    drawn = drawn[~np.isnan(drawn)]
    found: dict[str, Any] = {"difference": finite(value), "low": None, "high": None, "p": None, "at_most": False}
    if math.isnan(value) or groups < 2 or not len(drawn):
        return found
    rows = float(drawn.var()) * groups / (groups - 1)
    variance, doubt, fewest = rows, rows**2 / (groups - 1), groups - 1
    for factor, one in _parts(a, b, groups):
        fewest = min(fewest, one.seeds - 1)
        variance += factor * one.variance
        doubt += (factor * one.seen) ** 2 / (one.seeds - 1)
    if not variance:
        return found | ({"low": value, "high": value, "p": 1.0} if value == 0 else {})
    degrees = max(fewest, math.floor(variance**2 / doubt))  # no fewer than the part that has the fewest
    reach = quantile(confidence, degrees) * math.sqrt(variance)
    p = two_sided(value / math.sqrt(variance), degrees)
    return found | {"low": value - reach, "high": value + reach, "p": p}


def _parts(a: System, b: System, groups: int) -> list[tuple[float, Spread]]:
    """(factor, spread) of each source of variance by seeds in the difference of two models."""
    own = [(one, spread(one.of or one, groups)) for one in (a, b)]
    if a.of is b or b.of is a:  # the same trainings on both sides
        own = [(one, found) for one, found in own if one.of is None]
    known = [(1 / found.seeds, found) for _, found in own if found]
    unknown = [one for one, found in own if found is None and not one.fixed]
    if unknown and len(known) == 1:
        return [(known[0][0] + 1.0, known[0][1])]
    return known


def summary(measure: Measure[A], metric: str, system: System, confidence: float, groups: int) -> dict[str, Any]:
    """{value, low, high, sd, least, most, values} of a model with several seeds.

    `value` is the mean over the seeds, its interval that over rows, of these trainings; `sd`, `least` and `most` are
    the spread of the metric over them. `undefined` as for one model.
    """
    drawn, limits = system.mean_draws, measure.ranges.get(metric)
    span = t_interval(system.mean, drawn, confidence, groups, limits) if limits else interval(drawn, confidence, groups)
    low, high = span or (None, None)
    whole = not math.isnan(system.mean)
    found: dict[str, Any] = {
        "value": finite(system.mean),
        "low": low,
        "high": high,
        "sd": float(np.std(system.values, ddof=1)) if whole else None,
        "least": float(min(system.values)) if whole else None,
        "most": float(max(system.values)) if whole else None,
        "values": [finite(value) for value in system.values],
    }
    if undefined := int(np.isnan(drawn).sum()):
        found["undefined"] = undefined
    return found
