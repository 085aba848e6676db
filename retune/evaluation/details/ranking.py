"""Details of kind `ranking`: the counts of queries, the worst of them, mean relevance by rank and by estimate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.evaluation import ranking_metrics
from retune.evaluation.kinds.ranking import RankingAnswers, answers, positions

if TYPE_CHECKING:
    from retune.params import Params

BINS = 10


def write(folder: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> None:
    """Write the counts of queries, the table of queries, the worst of them, and mean relevance by rank and estimate."""
    given = answers(joined, fitted, spec, splits)
    plots, details = folder / "plots", folder / "details"
    by_rank(given).write_csv(plots / "relevance_by_rank.csv")
    by_estimate(given).write_csv(plots / "reliability.csv")
    (details / "queries.json").write_text(json.dumps(query_counts(given), indent=2) + "\n", encoding="utf-8")
    worst_queries(joined, given, spec.errors).write_parquet(details / "errors.parquet")


def query_counts(given: RankingAnswers) -> dict[str, int]:
    """Queries: all of them, those with a single judged document, those without a relevant one."""
    sizes = np.bincount(given.queries)
    hits = np.bincount(given.queries, given.relevance >= labels.RELEVANT)
    return {
        "queries": len(sizes),
        "single": int((sizes == 1).sum()),
        "without_relevant": int(((hits == 0) & (sizes > 1)).sum()),
    }


def by_rank(given: RankingAnswers) -> pl.DataFrame:
    """Columns x (rank, at most 10), y (mean relevance there), rows; queries with several documents."""
    many = np.bincount(given.queries)[given.queries] > 1
    table = pl.DataFrame({"x": positions(given)[many], "y": given.relevance[many]}).filter(pl.col("x") <= 10)
    return table.group_by("x").agg(pl.col("y").mean(), rows=pl.len()).sort("x")


def by_estimate(given: RankingAnswers) -> pl.DataFrame:
    """Bins of the estimate that have rows: x (mean estimate), y (mean relevance), rows."""
    table = pl.DataFrame({"x": given.estimates, "y": given.relevance})
    place = (pl.col("x") * BINS).floor().clip(0, BINS - 1).cast(pl.Int64)
    bins = table.group_by(place.alias("bin")).agg(pl.col("x", "y").mean(), rows=pl.len()).sort("bin")
    return bins.drop("bin")


def worst_queries(joined: pl.DataFrame, given: RankingAnswers, count: int) -> pl.DataFrame:
    """The documents of the `count` queries with the lowest NDCG@10, the worst query first, in the model's order.

    Columns: query, ndcg, rank, document, relevance, score (null: unparsed), ideal (rank by relevance). Ties by query.
    """
    column = ranking_metrics.METRICS.index("ndcg@10")
    ideal = positions(given._replace(scores=given.relevance))
    table = joined.select("query", "document", "relevance", "score").with_columns(
        ndcg=pl.Series(given.values[:, column], nan_to_null=True),
        code=pl.Series(given.queries),
        rank=pl.Series(positions(given)),
        ideal=pl.Series(ideal),
    )
    table = table.with_columns(pl.col("ndcg").drop_nulls().first().over("code"))
    ranked = table.filter(pl.col("ndcg").is_not_null() & (pl.col("ndcg") < 1 - 1e-9))
    worst = ranked.unique("code").sort("ndcg", "query").head(count)["code"]
    shown = ranked.filter(pl.col("code").is_in(worst.implode())).sort("ndcg", "query", "code", "rank")
    return shown.select("query", "ndcg", "rank", "document", "relevance", "score", "ideal")
