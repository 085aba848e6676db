"""Weighted metrics of a choice among K classes, for one set of row weights or for a matrix of bootstrap resamples.

Every metric is float64 [...] of `weights` [..., n], and NaN where it has no meaning: top-k with no more than k classes,
a third of the classes of which no row is there, anything without rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from retune.evaluation.calibration_error import bin_errors
from retune.evaluation.weighted import Floats, Integers, by_code, ratio, total

METRICS = (
    "macro_f1", "accuracy", "weighted_f1", "top3", "top5", "head_f1", "middle_f1", "tail_f1", "brier", "ece",
)  # fmt: skip
"""The reported metrics, in this order."""


class ClassAnswers(NamedTuple):
    """The answers of one model to n rows: gold class, decided class and the place of the gold class among all by rank.

    `decisions` is -1 and `ranks` is K for an unparsed answer; `confidences` is the calibrated probability of the
    decided class, `errors` the squared distance of the probabilities from the gold ones. Each [n]; `thirds` [K] is the
    third (0 head, 1 middle, 2 tail) of each class.
    """

    labels: Integers
    decisions: Integers
    ranks: Integers
    confidences: Floats
    errors: Floats
    thirds: Integers

    def take(self, order: Integers) -> ClassAnswers:
        """Put the rows in another order."""
        labels, decisions, ranks, confidences, errors, thirds_ = self
        rows = (labels[order], decisions[order], ranks[order], confidences[order], errors[order])
        return ClassAnswers(*rows, thirds_)


def thirds(rows: list[int]) -> Integers:
    """The third of each class by its training rows [K]: 0 head, 1 middle, 2 tail; ties by the order of the classes.

    Thirds of the classes, not of the rows; where K is no multiple of 3 the head gets one more, then the middle.
    """
    order = np.argsort(-np.asarray(rows), kind="stable")
    found = np.zeros(len(rows), dtype=np.int64)
    for third, part in enumerate(np.array_split(order, 3)):
        found[part] = third
    return found


def measure(answers: ClassAnswers, weights: Floats) -> dict[str, Floats]:
    """All of `METRICS`, each [...]."""
    labels, decisions, ranks, confidences, errors, third_of = answers
    count = len(third_of)
    right = (labels == decisions).astype(np.int64)
    weight = weights.sum(-1)
    gold, given = by_code(weights, labels, count), by_code(weights, decisions, count)
    found = by_code(weights, np.where(right == 1, labels, -1), count)
    f1 = ratio(2 * found, gold + given, empty=0.0)
    occurs = gold > 0
    result = {
        "macro_f1": _mean(f1, occurs),
        "accuracy": ratio(total(weights, right), weight),
        "weighted_f1": ratio((f1 * gold).sum(-1), weight),
    }
    for k in (3, 5):
        share = ratio(total(weights, (ranks < k).astype(np.int64)), weight)
        result[f"top{k}"] = share if count > k else np.full_like(share, np.nan)
    for third, name in enumerate(("head_f1", "middle_f1", "tail_f1")):
        result[name] = _mean(f1, occurs & (third_of == third))
    result["brier"] = ratio(total(weights, errors), weight)
    result["ece"] = ece(right, confidences, weights)
    return result


def ece(right: Integers, confidences: Floats, weights: Floats) -> Floats:
    """Expected calibration error of the decided class's probability (`retune.evaluation.calibration_error`)."""
    return ratio(np.sum(bin_errors(right, confidences, weights), axis=0), weights.sum(-1))


def _mean(values: Floats, used: np.ndarray) -> Floats:
    """Mean over the last axis of the values that are used; NaN where none is."""
    return ratio(np.where(used, values, 0.0).sum(-1), used.sum(-1).astype(np.float64))
