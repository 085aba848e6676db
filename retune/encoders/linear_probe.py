"""A new layer's first weights by logistic regression on the frozen encoder's vectors, before both are tuned.

Linear probing, then fine-tuning (Kumar et al. 2022, arXiv 2202.10054): a layer of random weights spends the first steps
of a training on finding its direction, and bends the pretrained features meanwhile.
"""

from __future__ import annotations

import numpy as np

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Inverse strengths of the penalty (C of scikit-learn), on features of unit variance; dev log loss picks one."""
NEVER = -10.0
"""Bias of a label without a training row, against the smallest of the others."""


def fit(
    features: np.ndarray, codes: np.ndarray, dev: np.ndarray, dev_codes: np.ndarray, classes: int, balanced: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights (classes, width) and biases (classes,) in float32, and the penalty that dev chose.

    `features` (rows, width) with labels `codes` (rows,) of int, `dev` likewise. `balanced` weighs a class by the
    inverse of its frequency. Raises `ValueError` where all rows have one label.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    mean, scale = features.mean(0), np.maximum(features.std(0), 1e-6)
    weights = "balanced" if balanced else None
    best = None
    for penalty in PENALTIES:
        model = LogisticRegression(C=penalty, class_weight=weights, max_iter=1000)
        model.fit((features - mean) / scale, codes)
        coef, bias = np.zeros((classes, features.shape[1])), np.full(classes, NEVER)
        if len(model.classes_) == 2:
            model.coef_ = np.concatenate([-model.coef_, model.coef_]) / 2
            model.intercept_ = np.concatenate([-model.intercept_, model.intercept_]) / 2
        coef[model.classes_] = model.coef_ / scale
        bias[model.classes_] = model.intercept_ - coef[model.classes_] @ mean
        if len(model.classes_) < classes:
            absent = np.setdiff1d(np.arange(classes), model.classes_)
            bias[absent] = (features @ coef.T + bias)[:, model.classes_].min() + NEVER
        logits = dev @ coef.T + bias
        chances = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        loss = log_loss(dev_codes, chances, labels=range(classes))
        if best is None or loss < best[0]:
            best = loss, coef.astype(np.float32), bias.astype(np.float32), penalty
    assert best is not None
    return best[1], best[2], best[3]
