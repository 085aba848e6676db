"""Metrics of a ranking, query by query: NDCG, reciprocal rank, average precision, recall, Spearman's correlation.

Documents of equal score stand in random order, and a metric is its expectation over these orders (McSherry and Najork
2008, "Computing information retrieval performance measures efficiently in the presence of tied scores"); so a constant
score gives what chance gives. NDCG's gain is the relevance itself. For the binary metrics a document is relevant from
`RELEVANT` on.

NaN where a metric has no meaning: all of them for a query with a single document; NDCG where no document has any
relevance; the binary ones where none is relevant; Spearman's where all documents are equally relevant.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from retune.data.labels import RELEVANT
from retune.data.queries import Floats, Integers

METRICS = ("ndcg@10", "ndcg@5", "ndcg@1", "mrr@10", "map", "recall@3", "spearman")


def per_query(
    queries: Integers, relevance: Floats, scores: Floats, metrics: Sequence[str] = METRICS
) -> dict[str, Floats]:
    """Each metric of each query, [Q], from the query (0 to Q-1), relevance (0 to 1) and score of every row, [n]."""
    count = int(queries.max()) + 1 if len(queries) else 0
    found = {metric: np.full(count, np.nan) for metric in metrics}
    order = np.argsort(queries, kind="stable")
    bounds = np.searchsorted(queries[order], np.arange(count + 1))
    for query in range(count):
        rows = order[bounds[query] : bounds[query + 1]]
        if len(rows) > 1:
            for metric, values in found.items():
                values[query] = of_query(metric, relevance[rows], scores[rows])
    return found


def of_query(metric: str, relevance: Floats, scores: Floats) -> float:
    """One metric of one query from its documents' relevance and scores, [documents]."""
    name, _, cut = metric.partition("@")
    depth = int(cut) if cut else len(scores)
    if name == "spearman":
        return spearman(relevance, scores)
    groups = tied(relevance, scores)
    if name == "ndcg":
        return ndcg(groups, relevance, depth)
    return {"mrr": reciprocal_rank, "map": average_precision, "recall": recall}[name](groups, depth)


def tied(relevance: Floats, scores: Floats) -> list[Floats]:
    """The relevance of the documents of each score, the highest score first."""
    values, place = np.unique(-scores, return_inverse=True)
    return [relevance[place == level] for level in range(len(values))]


def ndcg(groups: list[Floats], relevance: Floats, depth: int) -> float:
    """Discounted gain of the first `depth` ranks over that of the best order (Jarvelin and Kekalainen 2002)."""
    discounts = np.where(np.arange(len(relevance)) < depth, 1 / np.log2(np.arange(len(relevance)) + 2), 0.0)
    best = float((np.sort(relevance)[::-1] * discounts).sum())
    if best == 0:
        return np.nan
    gain, start = 0.0, 0
    for group in groups:
        gain += float(group.sum() * discounts[start : start + len(group)].mean())
        start += len(group)
    return gain / best


def reciprocal_rank(groups: list[Floats], depth: int) -> float:
    """One over the rank of the first relevant document; 0 where it lies below `depth`."""
    start = 0
    for group in groups:
        size, hits = len(group), int((group >= RELEVANT).sum())
        if hits:
            # the first of `hits` relevant documents is the j-th of the group in C(size - j, hits - 1) of C(size, hits)
            ranks = range(1, min(size - hits + 1, depth - start) + 1)
            return sum(comb(size - j, hits - 1) / comb(size, hits) / (start + j) for j in ranks)
        start += size
    return np.nan


def average_precision(groups: list[Floats], depth: int) -> float:
    """Mean, over the relevant documents, of the precision at their rank."""
    total, start, before = 0.0, 0, 0
    for group in groups:
        size, hits = len(group), int((group >= RELEVANT).sum())
        if hits:
            j = np.arange(1, size + 1)
            others = (j - 1) * (hits - 1) / max(size - 1, 1)  # relevant ones expected before the j-th, itself relevant
            total += hits / size * float(((before + 1 + others) / (start + j)).sum())
        start, before = start + size, before + hits
    return total / before if before else np.nan


def recall(groups: list[Floats], depth: int) -> float:
    """Share of the relevant documents among the first `depth`."""
    found, start, every = 0.0, 0, 0
    for group in groups:
        size, hits = len(group), int((group >= RELEVANT).sum())
        found += hits * min(max(depth - start, 0), size) / size
        start, every = start + size, every + hits
    return found / every if every else np.nan


def spearman(relevance: Floats, scores: Floats) -> float:
    """Pearson correlation of the ranks, equal values sharing the mean of theirs; 0 for scores that are all equal."""
    a, b = ranks(relevance), ranks(scores)
    a, b = a - a.mean(), b - b.mean()
    if not a.any():
        return np.nan
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())) if b.any() else 0.0


def ranks(values: Floats) -> Floats:
    """Ranks from 1 on, lowest value first; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


def mean(values: Floats) -> float:
    """Mean over the queries [Q] in which the metric has a meaning; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
