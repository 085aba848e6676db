"""Models of one task against each other, on the same rows and the same bootstrap resamples.

The interval of a difference is that of the bootstrap, its p that of swapping the two models' answers group by group
(`retune.evaluation.swaps`): both keep groups together. `p` is corrected by Holm's method for the number of pairs (or of
models against the constant baseline), metric by metric; `p_uncorrected` is the plain one, and `at_most` says that both
are upper bounds: not one of the random swaps gave so large a difference. Both take what was fitted on the calibration
split as given.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from retune.evaluation import seeds
from retune.evaluation.bootstrap import informative, interval, replicates
from retune.evaluation.groups import shortage
from retune.evaluation.intervals import finite, point, summarise
from retune.evaluation.measure import A, Measure
from retune.evaluation.seeds import Seeded
from retune.evaluation.swaps import swap_test
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from retune.evaluation.kinds.protocol import Kind
    from retune.params import Params


def compare(
    kind: Kind[A], models: dict[str, A], groups: Integers, spec: Params, seeded: Seeded[A] | None = None
) -> dict[str, Any]:
    """All pairs of models of one task, and each model against the constant baseline, on rows with `groups` [n].

    Differences are a minus b. Returns `models`, `pairs` (a, b, metrics, wins, agreement), `ignorant` (the metrics of
    the constant baseline: the majority class, a constant score), `over_ignorant` ({model: metrics}, model minus that),
    `resamples`, `correction` (what `p` is, in words), `groups` and `warnings` (what these rows can't show). `models`
    are the answers of each (of its first seed), `spec` is the task's `evaluation` section. Where `seeded` says that a
    model has more trainings, its differences are those of the mean over its seeds, and `seeds` has, for each such
    model, the metrics of `retune.evaluation.seeds.summary`.
    """
    measure, first = kind.MEASURE, next(iter(models.values()))
    compared = [*models.values(), kind.constant_baseline(first)]
    times = resamples_for(len(models), spec.bootstrap, spec.confidence)
    seeded = seeded or Seeded()
    further = [one for name in seeded.members for one in seeded.members[name]]
    replicated = replicates(measure, [*compared, *further], groups, times, spec.seed)
    names, constant = list(models), len(models)
    known = informative(measure, first, groups)
    systems = seeds.systems(measure, compared, replicated, names, seeded)

    def against(i: int, j: int) -> dict[str, Any]:
        if seeded.varies(*(names[k] for k in (i, j) if k < constant)):
            both = systems[i], systems[j]
            return {
                metric: seeds.difference(both[0][metric], both[1][metric], spec.confidence, known[metric])
                for metric in measure.metrics
            }
        return differences(measure, (compared[i], compared[j]), (replicated[i], replicated[j]), groups, times, spec)

    pairs: list[dict[str, Any]] = []
    for i, j in itertools.combinations(range(len(names)), 2):
        sides = [[compared[k], *seeded.members.get(names[k], ())] for k in (i, j)]
        only_a, only_b, agreement = _wins(kind, *sides)
        wins = {"only_a": only_a, "only_b": only_b}
        pairs.append({"a": names[i], "b": names[j], "metrics": against(i, j), "wins": wins, "agreement": agreement})
    over_baseline = {name: against(i, constant) for i, name in enumerate(names)}
    for metric in measure.metrics:
        _correct([pair["metrics"][metric] for pair in pairs])
        _correct([metrics[metric] for metrics in over_baseline.values()])
    number = int(groups.max()) + 1
    few = shortage(number, spec.confidence)
    return {
        "models": names,
        "pairs": pairs,
        "ignorant": summarise(measure, compared[constant], groups, replicated[constant], spec.confidence),
        "over_ignorant": over_baseline,
        "resamples": times,
        "correction": f"p is corrected for {len(pairs)} pairs of models by Holm's method, metric by metric",
        "groups": number,
        "warnings": [*([few] if few else []), *kind.cautions(first, spec)],
        **({"seeds": _over_seeds(measure, names, systems, seeded, spec.confidence, known)} if seeded.members else {}),
    }


def _over_seeds(
    measure: Measure[A],
    names: Sequence[str],
    systems: Sequence[dict[str, seeds.System]],
    seeded: Seeded[A],
    confidence: float,
    known: dict[str, int],
) -> dict[str, Any]:
    """{model: {metric: its mean, interval and spread}} of the models with several seeds."""
    return {
        name: {
            metric: seeds.summary(measure, metric, system[metric], confidence, known[metric])
            for metric in measure.metrics
        }
        for name, system in zip(names, systems, strict=False)
        if name in seeded.members
    }


def _wins(kind: Kind[A], a: Sequence[A], b: Sequence[A]) -> tuple[int, int, float]:
    """What the kind counts of two models: of several trainings the mean over all pairs, in whole rows."""
    if len(a) == len(b) == 1:
        return kind.wins(a[0], b[0])
    found = np.array([kind.wins(one, other) for one in a for other in b]).mean(0)
    return round(found[0]), round(found[1]), float(found[2])


def paired(measure: Measure[A], answers: dict[str, A], groups: Integers, spec: Params) -> dict[str, Any]:
    """{name: metrics with intervals} of each; of two on the same rows also `difference`, the first minus the second."""
    given = list(answers.values())
    replicated = replicates(measure, given, groups, spec.bootstrap, spec.seed)
    found: dict[str, Any] = {
        name: summarise(measure, one, groups, drawn, spec.confidence)
        for (name, one), drawn in zip(answers.items(), replicated, strict=True)
    }
    if len(given) == 2:
        both = (given[0], given[1]), (replicated[0], replicated[1])
        found["difference"] = differences(measure, *both, groups, spec.bootstrap, spec)
    return found


def differences(
    measure: Measure[A],
    answers: tuple[A, A],
    replicated: tuple[dict[str, Floats], dict[str, Floats]],
    groups: Integers,
    times: int,
    spec: Params,
) -> dict[str, Any]:
    """{metric: {difference, low, high, p, at_most}} of the first minus the second, null where it has no meaning."""
    (a, b), (draws_a, draws_b) = (point(measure, one) for one in answers), replicated
    tests = swap_test(measure, *answers, groups, times, spec.seed)
    known = informative(measure, answers[0], groups)
    found = {}
    for metric in measure.metrics:
        low, high = interval(draws_a[metric] - draws_b[metric], spec.confidence, known[metric]) or (None, None)
        p, at_most = tests[metric] or (None, False)
        value = finite(a[metric] - b[metric])
        found[metric] = {"difference": value, "low": low, "high": high, "p": p, "at_most": at_most}
    return found


def resamples_for(models: int, wanted: int, confidence: float) -> int:
    """`wanted`, or more if there are so many models that no corrected p could fall below 1 - confidence.

    A p of B random swaps is at least 1 / (B + 1), and Holm multiplies the smallest by the number of pairs; at the
    returned number that product is at most half of 1 - confidence.
    """
    pairs = models * (models - 1) // 2
    return max(wanted, math.ceil(2 * max(pairs, models) / (1 - confidence)))


def holm(p: list[float | None]) -> list[float | None]:
    """Holm's step-down correction (Holm 1979) of the p-values of one family; None stays None and does not count."""
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[i] = highest
    return corrected


def _correct(family: list[dict[str, Any]]) -> None:
    for entry, p in zip(family, holm([entry["p"] for entry in family]), strict=True):
        entry["p"], entry["p_uncorrected"] = p, entry["p"]
        entry["at_most"] = entry["at_most"] and p is not None and p < 1
