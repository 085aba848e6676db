"""The first scale and bias: how the cosines of the untuned base tell the labels."""

from __future__ import annotations

import numpy as np


def logistic(cosines: np.ndarray, labels: np.ndarray, balanced: bool) -> tuple[float, float]:
    """Scale and bias of the logistic regression of labels on cosines, by Newton's method in float64.

    A weak prior (scale around 0, as one row would weigh) keeps separable data finite; the scale stays at least 1, so
    that a higher cosine never speaks against label 1.
    """
    x = (cosines - cosines.mean()) / (cosines.std() + 1e-9)
    y = labels.astype(np.float64)
    positives = y.sum()
    weights = np.ones_like(y)
    if balanced and 0 < positives < len(y):
        weights = np.where(y == 1, len(y) / (2 * positives), len(y) / (2 * (len(y) - positives)))
    design = np.stack([x, np.ones_like(x)], axis=1)
    theta, prior = np.zeros(2), np.diag([1.0, 0.01])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -30, 30)))
        gradient = design.T @ (weights * (y - p)) - prior @ theta
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + prior
        step = np.linalg.solve(hessian, gradient)
        theta = theta + step
        if np.abs(step).max() < 1e-10:
            break
    scale = max(1.0, float(theta[0] / (cosines.std() + 1e-9)))
    return scale, float(theta[1] - scale * cosines.mean())
