"""Weighted metrics of a choice among K classes, for one set of row weights or for a matrix of bootstrap resamples.

Every metric is float64 [...] of `weights` [..., n], and NaN where it has no meaning: top-k with no more than k classes,
a third of the classes of which no row is there, anything without rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from retune.evaluation import groups as clusters
from retune.evaluation.calibration_error import squared
from retune.evaluation.weighted import Floats, Integers, by_code, ratio, total

METRICS = (
    "macro_f1", "accuracy", "weighted_f1", "top3", "top5", "head_f1", "middle_f1", "tail_f1", "brier",
    "calibration_error",
)  # fmt: skip
"""The reported metrics, in this order."""


class ClassAnswers(NamedTuple):
    """The answers of one model to n rows: gold class, decided class and the place of the gold class among all by rank.

    `decisions` is -1 and `ranks` is K for an unparsed answer; `confidences` is the calibrated probability of the
    decided class, `errors` the squared distance of the probabilities from the gold ones. Each [n]; `thirds` [K] is the
    third (0 head, 1 middle, 2 tail) of each class. `groups` [n] numbers the group of each row; None: each row is one.
    """

    labels: Integers
    decisions: Integers
    ranks: Integers
    confidences: Floats
    errors: Floats
    thirds: Integers
    groups: Integers | None = None

    def take(self, order: Integers) -> ClassAnswers:
        """Put the rows in another order."""
        labels, decisions, ranks, confidences, errors, thirds_, groups = self
        rows = (labels[order], decisions[order], ranks[order], confidences[order], errors[order])
        return ClassAnswers(*rows, thirds_, None if groups is None else groups[order])

    def beside(self, other: ClassAnswers) -> ClassAnswers:
        """These answers, then another model's to the same rows."""
        labels, decisions, ranks, confidences, errors = (
            np.concatenate(pair) for pair in zip(self[:5], other[:5], strict=True)
        )
        groups = clusters.beside(self.groups, other.groups, len(self.labels))
        return ClassAnswers(labels, decisions, ranks, confidences, errors, self.thirds, groups)


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
    """All of `METRICS`, each [...]; the calibration error, of the decided class, is its debiased square."""
    labels, decisions, ranks, confidences, errors, third_of, groups = answers
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
    result["calibration_error"] = squared(right, confidences, groups, weights)
    return result


def _mean(values: Floats, used: np.ndarray) -> Floats:
    """Mean over the last axis of the values that are used; NaN where none is."""
    return ratio(np.where(used, values, 0.0).sum(-1), used.sum(-1).astype(np.float64))
