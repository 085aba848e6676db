"""Models of one task against each other, on the same rows and the same bootstrap resamples.

`p` is corrected by Holm's method for the number of pairs (or of models against the majority class), metric by metric;
`p_uncorrected` is the plain one. McNemar's test takes the rows as independent; the bootstrap differences keep groups
together and are the safer reading. Both take each model's temperature and threshold as given.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.bootstrap import centred, interval, p_value, replicates
from retune.evaluation import finite, point, summarise
from retune.metrics import METRICS, Answers, Floats, Integers

if TYPE_CHECKING:
    from retune.params import Params


def compare(models: dict[str, Answers], groups: Integers, spec: Params) -> dict[str, Any]:
    """All pairs of models of one task, and each model against the majority class, on rows with `groups` [n].

    Differences are a minus b. Returns `models`, `pairs` (a, b, metrics, mcnemar, agreement), `majority` (its metrics),
    `over_majority` ({model: metrics}, model minus majority), `resamples` and `correction` (what `p` is, in words).
    `spec` is the task's `evaluation` section.
    """
    majority = majority_answers(next(iter(models.values())).labels)
    everyone = [*models.values(), majority]
    times = resamples_for(len(models), spec.bootstrap, spec.confidence)
    replicated = replicates(everyone, groups, times, spec.seed)
    values = [point(answers) for answers in everyone]
    names = list(models)

    def differences(i: int, j: int) -> dict[str, Any]:
        return {
            metric: difference(
                values[i][metric],
                values[j][metric],
                replicated[i][metric] - replicated[j][metric],
                spec.confidence,
                metric,
            )
            for metric in METRICS
        }

    pairs: list[dict[str, Any]] = [
        {
            "a": names[i],
            "b": names[j],
            "metrics": differences(i, j),
            "mcnemar": mcnemar(everyone[i], everyone[j]),
            "agreement": float(np.mean(everyone[i].decisions == everyone[j].decisions)),
        }
        for i, j in itertools.combinations(range(len(names)), 2)
    ]
    over_majority = {name: differences(i, -1) for i, name in enumerate(names)}
    for metric in METRICS:
        _correct([pair["metrics"][metric] for pair in pairs])
        _correct([metrics[metric] for metrics in over_majority.values()])
    _correct([pair["mcnemar"] for pair in pairs])
    return {
        "models": names,
        "pairs": pairs,
        "majority": summarise(majority, replicated[-1], spec.confidence),
        "over_majority": over_majority,
        "resamples": times,
        "correction": f"p is corrected for {len(pairs)} pairs of models by Holm's method, metric by metric",
    }


def resamples_for(models: int, wanted: int, confidence: float) -> int:
    """`wanted`, or more if there are so many models that no corrected p could fall below 1 - confidence.

    A bootstrap p is at least 2 / (B + 1), and Holm multiplies the smallest by the number of pairs; at the returned
    number that product is at most half of 1 - confidence.
    """
    pairs = models * (models - 1) // 2
    return max(wanted, math.ceil(4 * pairs / (1 - confidence)))


def difference(a: float, b: float, draws: Floats, confidence: float, metric: str) -> dict[str, Any]:
    """{difference, low, high, p} of a minus b from paired replicates [B] of it; null where it has no meaning."""
    draws = centred(draws, a - b) if metric == "ece" else draws
    low, high = interval(draws, confidence) or (None, None)
    return {"difference": finite(a - b), "low": low, "high": high, "p": p_value(draws)}


def majority_answers(labels: Integers) -> Answers:
    """Answer every row [n] with the more frequent label (0 in a tie), and with the share of label 1 as probability."""
    share = float(labels.mean())
    return Answers(labels, np.full_like(labels, int(share > 0.5)), np.full(len(labels), share))


def mcnemar(a: Answers, b: Answers) -> dict[str, Any]:
    """McNemar's exact test on the decisions of two models: rows that only one decides right, and the two-sided p.

    Under "equally good" each such row falls to either side like a fair coin (binomial test), reckoned in integers.
    """
    a_right, b_right = a.decisions == a.labels, b.decisions == b.labels
    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    n, ways, total = only_a + only_b, 1, 0
    for k in range(min(only_a, only_b) + 1):
        total += ways  # ways = n choose k
        ways = ways * (n - k) // (k + 1)
    return {"only_a_right": only_a, "only_b_right": only_b, "p": min(1.0, 2 * total / 2**n)}


def holm(p: list[float | None]) -> list[float | None]:
    """Holm's step-down correction (Holm 1979) of the p-values of one family; None stays None and does not count."""
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[i] = highest
    return corrected


def disagreements(rows: pl.DataFrame, models: dict[str, Answers], seen: dict[str, pl.Series]) -> pl.DataFrame:
    """List the rows that not all models decide alike, most disputed first.

    Columns: id, text_a, text_b, label, then for each model `MODEL.prob_1` (calibrated) and `MODEL.decision`, both null
    where its answer was not parsed. Sorted by the range of the probabilities, ties by id.
    """
    columns = [
        column
        for name, answers in models.items()
        for column in (
            pl.Series(f"{name}.prob_1", answers.probabilities),
            pl.Series(f"{name}.decision", answers.decisions, dtype=pl.Int8),
        )
    ]
    probabilities = np.stack([answers.probabilities for answers in models.values()])
    decisions = np.stack([answers.decisions for answers in models.values()])
    table = rows.select("id", "text_a", "text_b", "label").with_columns(columns)
    hidden = [
        pl.when(seen[name]).then(pl.col(f"{name}.{what}")).alias(f"{name}.{what}")
        for name in models
        for what in ("prob_1", "decision")
    ]
    return (
        table.with_columns(hidden)
        .with_columns(_range=pl.Series(np.ptp(probabilities, axis=0)))
        .filter(pl.Series(np.ptp(decisions, axis=0) > 0))
        .sort("_range", "id", descending=[True, False])
        .drop("_range")
    )


def _correct(family: list[dict[str, Any]]) -> None:
    for entry, p in zip(family, holm([entry["p"] for entry in family]), strict=True):
        entry["p"], entry["p_uncorrected"] = p, entry["p"]
