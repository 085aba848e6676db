"""What a training measures on the dev queries of a ranking task.

A module of its own: in `dev_metrics` it would make every LLM's training depend on how rankings are read.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from retune.data import queries
from retune.data.queries import Floats
from retune.evaluation import ranking_metrics


def of(rows: pl.DataFrame, scores: Floats, loss: float) -> dict[str, float]:
    """NDCG@10 and Spearman's correlation, means over the queries of dev, beside the learner's own loss.

    `trivial_ndcg` is that of a random order.
    """
    found = ranking_metrics.per_query(queries.codes(rows), queries.relevance(rows), scores, ("ndcg@10", "spearman"))
    chance = ranking_metrics.per_query(queries.codes(rows), queries.relevance(rows), np.zeros(len(rows)), ("ndcg@10",))
    return {
        "loss": loss,
        "ndcg": ranking_metrics.mean(found["ndcg@10"]),
        "spearman": ranking_metrics.mean(found["spearman"]),
        "trivial_ndcg": ranking_metrics.mean(chance["ndcg@10"]),
    }
