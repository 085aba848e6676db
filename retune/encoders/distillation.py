"""Losses by which a student learns what a teacher says: pure functions that give a scalar.

Of labels a row costs (1 - w) * its loss by the label + w * T^2 * KL(teacher || student), both softened by the
temperature T (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"); a row that lacks one of the two has
the other alone. The mean is over all rows. Of rankings see `margin_mse`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from retune.params import Params

Gold = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""The mean loss by labels, from logits [n, classes], labels [n], and the labels of the batch that they are part of."""

LEAST = 1e-15


def softened_kl(logits: torch.Tensor, chances: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 * KL(q || p) in nats of each row [n]: q the teacher's probabilities [n, classes], p the logits' softmax.

    Both at the temperature T. Its gradient is of the size of the cross-entropy's whatever T is.
    """
    q = F.log_softmax(chances.float().clamp(min=LEAST).log() / temperature, dim=-1)
    p = F.log_softmax(logits.float() / temperature, dim=-1)
    return temperature**2 * (q.exp() * (q - p)).sum(-1)


def taught(
    gold: Gold,
    logits: torch.Tensor,
    labels: torch.Tensor,
    whole: torch.Tensor,
    lessons: torch.Tensor,
    teacher: Params,
) -> torch.Tensor:
    """The loss of rows [n] with `labels` (below 0: none) and `lessons` [n, classes] (NaN: none): see above.

    `whole` are the labels of the batch of which these rows are a part.
    """
    total = logits.sum() * 0.0
    labelled, of_batch = labels >= 0, whole >= 0
    if labelled.any():
        share = (1 - teacher.weight) * float(of_batch.sum()) / len(whole)
        total = total + share * gold(logits[labelled], labels[labelled], whole[of_batch])
    told = ~lessons[:, 0].isnan()
    if told.any():
        costs = softened_kl(logits[told], lessons[told], teacher.temperature)
        total = total + teacher.weight * costs.sum() / len(whole)
    return total


def margin_mse(scores: torch.Tensor, lessons: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """MarginMSE (Hofstätter et al. 2020) over the documents of each query, all [rows]: a scalar.

    The mean over the pairs of documents of one query of ((s_i - s_j) - (t_i - t_j))^2, where t are the teacher's scores
    (NaN: none). 0 without such a pair.
    """
    pairs = margins(lessons, queries)
    if not pairs.any():
        return scores.sum() * 0.0
    gaps = (scores[:, None] - scores[None, :]) - (lessons[:, None] - lessons[None, :])
    return (gaps[pairs] ** 2).mean()


def margins(lessons: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Whether the documents of row and column are a pair of which the teacher told both scores, [rows, rows]."""
    told = ~lessons.isnan()
    return (queries[:, None] == queries[None, :]).triu(1) & told[:, None] & told[None, :]
