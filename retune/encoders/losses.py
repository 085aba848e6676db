"""Losses over class logits [n, classes] and labels [n]: pure functions that give a scalar, the mean over the rows.

`whole` are the labels of a batch of which these rows are a part: the mean is then over the batch, so that the losses of
its parts add up to its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
    whole: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy in nats; a row counts by its class's entry of `weights` [classes], the mean is a weighted one.

    Label smoothing (Szegedy et al. 2016) mixes the target with the uniform distribution: (1 - s) one-hot + s / classes.
    """
    return focal(logits, labels, gamma=0.0, weights=weights, smoothing=smoothing, whole=whole)


def focal(
    logits: torch.Tensor,
    labels: torch.Tensor,
    gamma: float = 2.0,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
    whole: torch.Tensor | None = None,
) -> torch.Tensor:
    """Focal loss -(1 - p)^gamma log p (Lin et al. 2017), with alpha as `weights`; gamma 0 is the cross-entropy."""
    log_p = F.log_softmax(logits.float(), dim=-1)
    terms = (
        -log_p if gamma == 0.0 else -((-torch.expm1(log_p)).clamp(min=1e-6) ** gamma) * log_p
    )  # of 0, gamma < 1 has no gradient
    classes = logits.shape[-1]
    target = F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    per_row = (target * terms).sum(-1)
    whole = labels if whole is None else whole
    if weights is None:
        return per_row.sum() / len(whole)
    return (weights[labels] * per_row).sum() / weights[whole].sum()


def symmetric_kl(first: torch.Tensor, second: torch.Tensor, rows: int | None = None) -> torch.Tensor:
    """R-Drop's term (Liang et al. 2021): (KL(p || q) + KL(q || p)) / 2 in nats between two passes with own dropout.

    `rows` of the batch of which these are a part, if they are.
    """
    p, q = (F.log_softmax(logits.float(), dim=-1) for logits in (first, second))
    return ((p.exp() - q.exp()) * (p - q)).sum() / (rows or len(first)) / 2


def balanced_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weigh a class by rows / (classes * its rows), as scikit-learn's `balanced` does; no rows count as one."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())
