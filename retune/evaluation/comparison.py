"""Models of one task against each other, on the same rows and the same bootstrap resamples.

`p` is corrected by Holm's method for the number of pairs (or of models against knowing nothing), metric by metric;
`p_uncorrected` is the plain one. The sign test (McNemar's exact test, where rows are right or wrong) takes the rows as
independent; the bootstrap differences keep groups together and are the safer reading. Both take what was fitted on the
calibration split as given.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from retune.evaluation.bootstrap import centred, interval, p_value, replicates
from retune.evaluation.intervals import finite, point, summarise
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from retune.params import Params


def compare(measures: Any, models: dict[str, Any], groups: Integers, spec: Params) -> dict[str, Any]:
    """All pairs of models of one task, and each model against knowing nothing, on rows with `groups` [n].

    Differences are a minus b. Returns `models`, `pairs` (a, b, metrics, sign_test, agreement), `ignorant` (the metrics
    of knowing nothing: the majority class, a constant score), `over_ignorant` ({model: metrics}, model minus that),
    `resamples` and `correction` (what `p` is, in words). `measures` is the module of the task kind, `models` the
    answers of each, `spec` the task's `evaluation` section.
    """
    ignorant = measures.ignorant(next(iter(models.values())))
    everyone = [*models.values(), ignorant]
    times = resamples_for(len(models), spec.bootstrap, spec.confidence)
    replicated = replicates(measures, everyone, groups, times, spec.seed)
    values = [point(measures, answers) for answers in everyone]
    names = list(models)

    def differences(i: int, j: int) -> dict[str, Any]:
        return {
            metric: difference(
                values[i][metric],
                values[j][metric],
                replicated[i][metric] - replicated[j][metric],
                spec.confidence,
                centre=metric in measures.CENTRED,
            )
            for metric in measures.METRICS
        }

    pairs: list[dict[str, Any]] = []
    for i, j in itertools.combinations(range(len(names)), 2):
        only_a, only_b, agreement = measures.wins(everyone[i], everyone[j])
        pairs.append(
            {
                "a": names[i],
                "b": names[j],
                "metrics": differences(i, j),
                "sign_test": {"only_a": only_a, "only_b": only_b, "p": sign_test(only_a, only_b)},
                "agreement": agreement,
            }
        )
    over_ignorant = {name: differences(i, -1) for i, name in enumerate(names)}
    for metric in measures.METRICS:
        _correct([pair["metrics"][metric] for pair in pairs])
        _correct([metrics[metric] for metrics in over_ignorant.values()])
    _correct([pair["sign_test"] for pair in pairs])
    return {
        "models": names,
        "pairs": pairs,
        "ignorant": summarise(measures, ignorant, replicated[-1], spec.confidence),
        "over_ignorant": over_ignorant,
        "resamples": times,
        "correction": f"p is corrected for {len(pairs)} pairs of models by Holm's method, metric by metric",
    }


def paired(measures: Any, answers: dict[str, Any], groups: Integers, spec: Params) -> dict[str, Any]:
    """{name: metrics with intervals} of each; of two on the same rows also `difference`, the first minus the second."""
    given = list(answers.values())
    replicated = replicates(measures, given, groups, spec.bootstrap, spec.seed)
    found: dict[str, Any] = {
        name: summarise(measures, one, drawn, spec.confidence)
        for (name, one), drawn in zip(answers.items(), replicated, strict=True)
    }
    if len(given) == 2:
        a, b = (point(measures, one) for one in given)
        found["difference"] = {
            name: difference(a[name], b[name], replicated[0][name] - replicated[1][name], spec.confidence, centre=False)
            for name in measures.METRICS
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
