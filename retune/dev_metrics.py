"""What a training measures on dev: `loss`, `auc`, `f1`, `accuracy`, and whether a model has collapsed to one class."""

from __future__ import annotations

import math

import numpy as np


def pair(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Dev metrics of a two-class model from its labels [n] in {0, 1} and logits [n] (log-odds of label 1).

    `loss` is the mean negative log-likelihood in nats; `f1` and `accuracy` cut at log-odds 0; `positives` is the share
    of rows that are cut to label 1; `auc_noise` the 95 % half-width of the AUC of a model that knows nothing.
    """
    labels, logits = labels.astype(np.int64), logits.astype(np.float64)
    decisions = (logits > 0).astype(np.int64)
    right = int((labels * decisions).sum())
    found = int(labels.sum() + decisions.sum())
    return {
        "loss": float(np.logaddexp(0.0, np.where(labels == 1, -logits, logits)).mean()),
        "auc": auc(labels, logits),
        "f1": 2 * right / found if found else 0.0,
        "accuracy": float((labels == decisions).mean()),
        "positives": float(decisions.mean()),
        "auc_noise": auc_noise(labels),
    }


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve by ranks, ties counting half (Mann and Whitney); 0.5 where a class is missing."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auc_noise(labels: np.ndarray) -> float:
    """Half-width of the 95 % interval of the AUC around 0.5 if scores and labels were independent."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    return 1.96 * math.sqrt((positives + negatives + 1) / (12 * positives * negatives))


def collapse(metrics: dict[str, float]) -> str | None:
    """A sentence that says how a model has collapsed and what to try, or None for a model that tells rows apart."""
    score, noise, positives = metrics["auc"], metrics["auc_noise"], metrics["positives"]
    blind = abs(score - 0.5) <= noise
    one = positives in (0.0, 1.0)
    if not blind and not one:
        return None
    said = []
    if one:
        said.append(f"every dev row gets label {int(positives)}")
    if blind:
        said.append(f"its dev AUC {score:.3f} is no better than chance (0.5 +- {noise:.3f})")
    if blind:
        remedy = "try more rows or epochs, another learning rate, or the learner `embedder`"
    else:
        remedy = (
            "its order of the rows is sound, so calibration can set a threshold; or try loss.class_weights: balanced"
        )
    return f"Collapsed to one class: {' and '.join(said)}; {remedy}."
