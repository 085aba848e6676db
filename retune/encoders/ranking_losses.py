"""Losses of embedders and rerankers, on tensors alone.

A pair is a query and a document that was judged for it; `weights` are the rows' weights of the data.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

RELEVANT, NONE = 0.5, -1e9
"""A document is positive from this relevance on; a logit that stands for none (-inf would give NaN gradients)."""


def cosine_mse(cosines: torch.Tensor, relevance: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean over the pairs of weight * (cosine - relevance)^2, all [pairs]: a scalar."""
    return (weights * (cosines - relevance) ** 2).mean()


def in_batch(cosines: torch.Tensor, relevance: torch.Tensor, weights: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018) with all documents of the batch: a scalar.

    `cosines`, `relevance` and `weights` are [queries, documents]; the relevance is NaN where a document was not judged
    for a query. Every positive pair has a term of its own, -log softmax of its cosine / temperature among itself and
    the documents that are not positive for its query (judged or not); the mean is weighted. 0 without a positive pair.
    """
    positive = relevance >= RELEVANT  # False for NaN
    if not positive.any():
        return cosines.sum() * 0.0
    logits = cosines / temperature
    others = logits.masked_fill(positive, NONE).logsumexp(dim=1, keepdim=True)
    terms = torch.logaddexp(logits, others) - logits
    shares = torch.where(positive, weights, torch.zeros_like(weights))
    return (shares * torch.where(positive, terms, torch.zeros_like(terms))).sum() / shares.sum()


def margin(positive: torch.Tensor, negative: torch.Tensor, gap: float) -> torch.Tensor:
    """Mean of max(0, gap - (positive - negative)) over pairs of cosines [pairs]: a scalar; 0 where there is none."""
    if not len(positive):
        return positive.sum() * 0.0
    return F.relu(gap - (positive - negative)).mean()


def ranknet(
    scores: torch.Tensor, relevance: torch.Tensor, weights: torch.Tensor, queries: torch.Tensor
) -> torch.Tensor:
    """RankNet (Burges et al. 2005) over the documents of each query, all [rows]: a scalar.

    A pair of documents of one query of which i is the more relevant costs log(1 + exp(s_j - s_i)), weighted by the
    difference of their relevance and by the mean of their weights; the sum over the weights. 0 without such a pair.
    """
    shares = preferences(relevance, weights, queries)
    pairs = shares > 0
    if not pairs.any():
        return scores.sum() * 0.0
    costs = F.softplus(scores[None, :] - scores[:, None])[pairs]
    return (shares[pairs] * costs).sum() / shares[pairs].sum()


def preferences(relevance: torch.Tensor, weights: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """How much it counts that the row's document stands above the column's, [rows, rows]; 0 where it need not."""
    gains = relevance[:, None] - relevance[None, :]
    pairs = (queries[:, None] == queries[None, :]) & (gains > 0)
    return torch.where(pairs, gains * (weights[:, None] + weights[None, :]) / 2, torch.zeros_like(gains))


def listnet(
    scores: torch.Tensor, relevance: torch.Tensor, weights: torch.Tensor, queries: torch.Tensor, temperature: float
) -> torch.Tensor:
    """ListNet, top one (Cao et al. 2007), over the documents of each query, all [rows]: a scalar.

    Cross-entropy between the softmax of relevance / temperature and that of the scores, the target multiplied by the
    rows' weights and normalised again; the mean over the queries with several documents. 0 where there is none.
    """
    total, count = scores.sum() * 0.0, 0
    for query in queries.unique():
        rows = queries == query
        if int(rows.sum()) < 2:
            continue
        target = F.softmax(relevance[rows] / temperature, dim=0) * weights[rows]
        total = total - (target / target.sum() * F.log_softmax(scores[rows], dim=0)).sum()
        count += 1
    return total / max(count, 1)
