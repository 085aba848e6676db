"""How many labels are wrong, and which: confident learning over out-of-fold probabilities, as arrays.

Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels (arXiv 1911.00068).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOOR = 1e-3
"""The least probability that counts in `surety`: below it a model is sure, and how sure says nothing."""


def confident_joint(codes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The estimated joint distribution [given label, true label] of labels `codes` [n] by `probabilities` [n, K].

    A row counts as truly j where p(j) is at least the mean p(j) of the rows labelled j; of several such j the likeliest
    counts, and a row without any counts nowhere. Each given label then gets its share of the rows (equation 3 there).
    """
    labels = probabilities.shape[1]
    given = np.bincount(codes, minlength=labels)
    own = np.bincount(codes, weights=probabilities[np.arange(len(codes)), codes], minlength=labels)
    thresholds = np.where(given > 0, own / np.maximum(given, 1), np.inf)
    above = np.where(probabilities >= thresholds - 1e-12, probabilities, -1.0)
    confident = above.max(axis=1) >= 0
    counts = np.zeros((labels, labels))
    np.add.at(counts, (codes[confident], above.argmax(axis=1)[confident]), 1)
    counts[np.diag_indices(labels)] += counts.sum(axis=1) == 0  # nobody is sure of any row: as given
    joint: np.ndarray = counts / counts.sum(axis=1, keepdims=True) * given[:, None] / max(len(codes), 1)
    return joint


def expected_wrong(codes: np.ndarray, probabilities: np.ndarray) -> float:
    """So many of the rows have a wrong label, by the joint estimate."""
    joint = confident_joint(codes, probabilities)
    return float((joint.sum() - np.trace(joint)) * len(codes))


def surety(codes: np.ndarray, views: Sequence[np.ndarray]) -> np.ndarray:
    """How far all views [n, K] believe each row's label: the geometric mean of their p(label), from `FLOOR` to 1."""
    own = [np.maximum(view[np.arange(len(codes)), codes], FLOOR) for view in views]
    mean: np.ndarray = np.exp(np.mean(np.log(own), axis=0))
    return mean
