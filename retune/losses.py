"""Losses over class logits [n, classes] and labels [n]: pure functions that give a scalar, the mean over the rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None, smoothing: float = 0.0
) -> torch.Tensor:
    """Cross-entropy in nats; a row counts by its class's entry of `weights` [classes], the mean is a weighted one.

    Label smoothing (Szegedy et al. 2016) mixes the target with the uniform distribution: (1 - s) one-hot + s / classes.
    """
    return focal(logits, labels, gamma=0.0, weights=weights, smoothing=smoothing)


def focal(
    logits: torch.Tensor,
    labels: torch.Tensor,
    gamma: float = 2.0,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Focal loss -(1 - p)^gamma log p (Lin et al. 2017), with alpha as `weights`; gamma 0 is the cross-entropy."""
    log_p = F.log_softmax(logits.float(), dim=-1)
    terms = (
        -log_p if gamma == 0.0 else -((-torch.expm1(log_p)).clamp(min=1e-6) ** gamma) * log_p
    )  # of 0, gamma < 1 has no gradient
    classes = logits.shape[-1]
    target = F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    per_row = (target * terms).sum(-1)
    if weights is None:
        return per_row.mean()
    row_weights = weights[labels]
    return (row_weights * per_row).sum() / row_weights.sum()


def symmetric_kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """R-Drop's term (Liang et al. 2021): (KL(p || q) + KL(q || p)) / 2 in nats between two passes with own dropout."""
    p, q = (F.log_softmax(logits.float(), dim=-1) for logits in (first, second))
    return ((p.exp() - q.exp()) * (p - q)).sum(-1).mean() / 2


def balanced_weights(labels: torch.Tensor, classes: int = 2) -> torch.Tensor:
    """Weigh a class by rows / (classes * its rows), as scikit-learn's `balanced` does; no rows count as one."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())
