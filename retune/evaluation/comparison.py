"""Models of one task against each other, on the same rows and the same bootstrap resamples.

`p` is corrected by Holm's method for the number of pairs (or of models against the constant baseline), metric by
metric; `p_uncorrected` is the plain one. The sign test (McNemar's exact test, where rows are right or wrong) takes the
rows as independent; the bootstrap differences keep groups together and are the safer reading. Both take what was fitted
on the calibration split as given.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from retune.evaluation.bootstrap import centred, interval, p_value, replicates
from retune.evaluation.intervals import finite, point, summarise
from retune.evaluation.measure import A, Measure
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from retune.evaluation.kinds.protocol import Kind
    from retune.params import Params


def compare(kind: Kind[A], models: dict[str, A], groups: Integers, spec: Params) -> dict[str, Any]:
    """All pairs of models of one task, and each model against the constant baseline, on rows with `groups` [n].

    Differences are a minus b. Returns `models`, `pairs` (a, b, metrics, sign_test, agreement), `ignorant` (the metrics
    of the constant baseline: the majority class, a constant score), `over_ignorant` ({model: metrics}, model minus
    that), `resamples` and `correction` (what `p` is, in words). `models` are the answers of each, `spec` is the task's
    `evaluation` section.
    """
    measure, baseline = kind.MEASURE, kind.constant_baseline(next(iter(models.values())))
    compared = [*models.values(), baseline]
    times = resamples_for(len(models), spec.bootstrap, spec.confidence)
    replicated = replicates(measure, compared, groups, times, spec.seed)
    values = [point(measure, answers) for answers in compared]
    names = list(models)

    def differences(i: int, j: int) -> dict[str, Any]:
        return {
            metric: difference(
                values[i][metric],
                values[j][metric],
                replicated[i][metric] - replicated[j][metric],
                spec.confidence,
                centre=metric in measure.centred,
            )
            for metric in measure.metrics
        }

    pairs: list[dict[str, Any]] = []
    for i, j in itertools.combinations(range(len(names)), 2):
        only_a, only_b, agreement = kind.wins(compared[i], compared[j])
        pairs.append(
            {
                "a": names[i],
                "b": names[j],
                "metrics": differences(i, j),
                "sign_test": {"only_a": only_a, "only_b": only_b, "p": sign_test(only_a, only_b)},
                "agreement": agreement,
            }
        )
    over_baseline = {name: differences(i, -1) for i, name in enumerate(names)}
    for metric in measure.metrics:
        _correct([pair["metrics"][metric] for pair in pairs])
        _correct([metrics[metric] for metrics in over_baseline.values()])
    _correct([pair["sign_test"] for pair in pairs])
    return {
        "models": names,
        "pairs": pairs,
        "ignorant": summarise(measure, baseline, replicated[-1], spec.confidence),
        "over_ignorant": over_baseline,
        "resamples": times,
        "correction": f"p is corrected for {len(pairs)} pairs of models by Holm's method, metric by metric",
    }


def paired(measure: Measure[A], answers: dict[str, A], groups: Integers, spec: Params) -> dict[str, Any]:
    """{name: metrics with intervals} of each; of two on the same rows also `difference`, the first minus the second."""
    given = list(answers.values())
    replicated = replicates(measure, given, groups, spec.bootstrap, spec.seed)
    found: dict[str, Any] = {
        name: summarise(measure, one, drawn, spec.confidence)
        for (name, one), drawn in zip(answers.items(), replicated, strict=True)
    }
    if len(given) == 2:
        a, b = (point(measure, one) for one in given)
        found["difference"] = {
            name: difference(a[name], b[name], replicated[0][name] - replicated[1][name], spec.confidence, centre=False)
            for name in measure.metrics
        }
    return found


def resamples_for(models: int, wanted: int, confidence: float) -> int:
    """`wanted`, or more if there are so many models that no corrected p could fall below 1 - confidence.

    A bootstrap p is at least 2 / (B + 1), and Holm multiplies the smallest by the number of pairs; at the returned
    number that product is at most half of 1 - confidence.
    """
    pairs = models * (models - 1) // 2
    return max(wanted, math.ceil(4 * pairs / (1 - confidence)))


def difference(a: float, b: float, draws: Floats, confidence: float, *, centre: bool) -> dict[str, Any]:
    """{difference, low, high, p} of a minus b from paired replicates [B] of it; null where it has no meaning."""
    draws = centred(draws, a - b) if centre else draws
    low, high = interval(draws, confidence) or (None, None)
    return {"difference": finite(a - b), "low": low, "high": high, "p": p_value(draws)}


def sign_test(only_a: int, only_b: int) -> float:
    """Two-sided p of the exact sign test on rows in which only a, or only b, is right (McNemar's exact test).

    Under "equally good" each such row falls to either side like a fair coin (binomial test), reckoned in integers.
    """
    n, ways, total = only_a + only_b, 1, 0
    for k in range(min(only_a, only_b) + 1):
        total += ways  # ways = n choose k
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * total / 2**n)


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
