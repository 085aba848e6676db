"""Weighted metrics of binary answers, for one set of row weights or for a whole matrix of bootstrap resamples.

Shapes: `labels` and `decisions` (0/1) and `probabilities` (of the label 1) are [n]; `weights` is [..., n] and not
negative: ones for the plain metric, the resample counts [B, n] for its B replicates. Every metric is float64 [...].

Where a metric has no meaning it is NaN: recall, F1 and average precision without rows of label 1, macro-F1 and AUC
without rows of both labels, anything without rows. Precision without a positive decision is 0, as in scikit-learn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from retune.evaluation import groups as clusters
from retune.evaluation.calibration_error import squared
from retune.evaluation.weighted import Floats, Integers, columns, ratio, total

METRICS = (
    "f1",
    "accuracy",
    "macro_f1",
    "precision",
    "recall",
    "auc",
    "average_precision",
    "brier",
    "calibration_error",
)
"""The reported metrics, in this order."""


class BinaryAnswers(NamedTuple):
    """The answers of one model to n rows: gold `labels`, `decisions` and `probabilities` of the label 1, each [n].

    `groups` [n] numbers the group of each row; None: each row is one.
    """

    labels: Integers
    decisions: Integers
    probabilities: Floats
    groups: Integers | None = None

    def take(self, order: Integers) -> BinaryAnswers:
        """Put the rows in another order."""
        groups = None if self.groups is None else self.groups[order]
        return BinaryAnswers(self.labels[order], self.decisions[order], self.probabilities[order], groups)

    def beside(self, other: BinaryAnswers) -> BinaryAnswers:
        """These answers, then another model's to the same rows."""
        labels, decisions, probabilities = (np.concatenate(pair) for pair in zip(self[:3], other[:3], strict=True))
        groups = clusters.beside(self.groups, other.groups, len(self.labels))
        return BinaryAnswers(labels, decisions, probabilities, groups)


class Confusion(NamedTuple):
    """Weight of the rows by gold label and decision, each [...]."""

    true_negative: Floats
    false_positive: Floats
    false_negative: Floats
    true_positive: Floats


def confusion(labels: Integers, decisions: Integers, weights: Floats) -> Confusion:
    """Sum the weights by gold label and decision."""
    both = total(weights, labels * decisions)
    positive, decided = total(weights, labels), total(weights, decisions)
    return Confusion(weights.sum(-1) - positive - decided + both, decided - both, positive - both, both)


def accuracy(labels: Integers, decisions: Integers, weights: Floats) -> Floats:
    """Share of right decisions."""
    return _accuracy(confusion(labels, decisions, weights))


def precision(labels: Integers, decisions: Integers, weights: Floats) -> Floats:
    """Share of right ones among the positive decisions; 0 where there is none."""
    return _precision(confusion(labels, decisions, weights))


def recall(labels: Integers, decisions: Integers, weights: Floats) -> Floats:
    """Share of the rows of label 1 that are found."""
    return _recall(confusion(labels, decisions, weights))


def f1(labels: Integers, decisions: Integers, weights: Floats) -> Floats:
    """Harmonic mean of precision and recall of the label 1."""
    return _f1(confusion(labels, decisions, weights))


def macro_f1(labels: Integers, decisions: Integers, weights: Floats) -> Floats:
    """Mean of the F1 of both labels."""
    return _macro_f1(confusion(labels, decisions, weights))


def auc(labels: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Area under the ROC curve: the chance that a row of label 1 scores above one of label 0, ties counting half."""
    return _auc(*_by_score(labels, probabilities, weights))


def average_precision(labels: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Sum over the distinct scores of precision times gain in recall (no interpolation, as in scikit-learn)."""
    return _average_precision(*_by_score(labels, probabilities, weights))


def brier(labels: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Mean squared difference of probability and label (Brier 1950)."""
    return ratio(total(weights, (probabilities - labels) ** 2), weights.sum(-1))


def nll(labels: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Mean negative log-likelihood in nats; probabilities are kept 1e-15 away from 0 and 1."""
    right = np.where(labels == 1, probabilities, 1.0 - probabilities)
    return ratio(total(weights, -np.log(np.clip(right, 1e-15, 1.0))), weights.sum(-1))


def measure(answers: BinaryAnswers, weights: Floats) -> dict[str, Floats]:
    """All of `METRICS`, each [...]; the rows are sorted once, and not at all if they come ordered by probability.

    The calibration error is its debiased square (`retune.evaluation.calibration_error`).
    """
    order = np.argsort(answers.probabilities, kind="stable")
    labels, decisions, probabilities, groups = answers.take(order)
    weights = columns(weights, order)
    table = confusion(labels, decisions, weights)
    levels = _by_score(labels, probabilities, weights)
    return {
        "f1": _f1(table),
        "accuracy": _accuracy(table),
        "macro_f1": _macro_f1(table),
        "precision": _precision(table),
        "recall": _recall(table),
        "auc": _auc(*levels),
        "average_precision": _average_precision(*levels),
        "brier": brier(labels, probabilities, weights),
        "calibration_error": squared(labels, probabilities, groups, weights),
    }


def _accuracy(table: Confusion) -> Floats:
    tn, fp, fn, tp = table
    return ratio(tn + tp, tn + fp + fn + tp)


def _precision(table: Confusion) -> Floats:
    tn, fp, fn, tp = table
    return np.where(tn + fp + fn + tp > 0, ratio(tp, tp + fp, empty=0.0), np.nan)


def _recall(table: Confusion) -> Floats:
    return ratio(table.true_positive, table.true_positive + table.false_negative)


def _f1(table: Confusion) -> Floats:
    _, fp, fn, tp = table
    return np.where(tp + fn > 0, ratio(2 * tp, 2 * tp + fp + fn), np.nan)


def _macro_f1(table: Confusion) -> Floats:
    return (_f1(table) + _f1(Confusion(*table[::-1]))) / 2


def _auc(positive: Floats, negative: Floats) -> Floats:
    below = np.cumsum(negative, axis=-1) - negative / 2
    wins = np.einsum("...n,...n->...", positive, below)
    return ratio(wins, positive.sum(-1) * negative.sum(-1))


def _average_precision(positive: Floats, negative: Floats) -> Floats:
    found = np.cumsum(positive[..., ::-1], axis=-1)
    chosen = np.cumsum((positive + negative)[..., ::-1], axis=-1)
    gained = np.einsum("...n,...n->...", positive[..., ::-1], ratio(found, chosen, empty=0.0))
    return ratio(gained, positive.sum(-1))


def _by_score(labels: Integers, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of label 1 and of label 0 at each of the L distinct scores, lowest first: two arrays [..., L]."""
    order = np.argsort(scores, kind="stable")
    labels, scores = labels[order], scores[order]
    weights = columns(weights, order)
    positive = weights * labels
    negative = weights - positive
    starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))
    if len(starts) == len(scores):
        return positive, negative
    return np.add.reduceat(positive, starts, axis=-1), np.add.reduceat(negative, starts, axis=-1)
