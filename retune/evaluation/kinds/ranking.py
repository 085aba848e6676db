"""Measures of kind `ranking`: how well the scores of a query's documents order them, and what they say of relevance.

A query's documents are the rows of one split with the same query (and group). Ranking metrics are means over queries
(retune.evaluation.ranking_metrics says where they have no meaning); a query with a single judged document has no order,
so it is counted and left out of them. `pooled_spearman` correlates scores and relevance over all rows, whatever their
query, so it has no such gap; it asks more, that the scores of different queries can be compared. `mse` compares the
calibrated score with the relevance, row by row, weighted.

An unparsed answer (null score) ranks below all of its query, and counts in `mse` as far off as can be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from retune.data import queries
from retune.errors import RetuneError
from retune.evaluation import ranking_metrics
from retune.evaluation.measure import CORRELATION, ERROR, SHARE, Measure
from retune.evaluation.score_metrics import spearman
from retune.evaluation.weighted import Floats, Integers, ratio, total

if TYPE_CHECKING:
    from collections.abc import Collection

    from retune.params import Params


FEW = 100
"""Queries below which metrics of a ranking are rough."""


class RankingAnswers(NamedTuple):
    """What one model says of n rows."""

    relevance: Floats  # [n]
    weights: Floats  # [n]
    queries: Integers  # [n], numbered from 0
    scores: Floats  # [n]; -inf where there is none
    estimates: Floats  # [n], the relevance that the score stands for
    values: Floats  # [n, ranking metrics]: of its query at a query's first row, NaN at the others

    def take(self, order: Integers) -> RankingAnswers:
        """The rows in another order."""
        scores, estimates = self.scores[order], self.estimates[order]
        return RankingAnswers(
            self.relevance[order], self.weights[order], self.queries[order], scores, estimates, self.values[order]
        )

    def beside(self, other: RankingAnswers) -> RankingAnswers:
        """These answers, then another model's to the same rows, as queries of their own."""
        codes = other.queries + self.queries.max(initial=-1) + 1
        pairs = zip(self, other._replace(queries=codes), strict=True)
        return RankingAnswers(*(np.concatenate(pair) for pair in pairs))


def columns(spec: Params, given: Collection[str] = ()) -> tuple[str, ...]:
    """The score."""
    return ("score",)


def calibrate(joined: pl.DataFrame, spec: Params) -> dict[str, Any]:
    """Scale and bias that turn a score into a relevance, by weighted least squares on the rows that the model scored.

    Returns them, `rows`, `mse` (weighted, on these rows) and `messages`. A score that speaks against the relevance gets
    the scale 0. Raises `RetuneError` where no row is scored or a score is not finite.
    """
    seen = joined.filter("parsed")
    if seen.is_empty():
        raise RetuneError(f"the model scored none of {len(joined)} calibration rows, so no scale can be fitted")
    scores, target, weights = finite(seen["score"]), seen["relevance"].to_numpy(), queries.weights(seen)
    middle = float(np.average(scores, weights=weights))
    level = float(np.average(target, weights=weights))
    spread = float((weights * (scores - middle) ** 2).sum())
    slope = float((weights * (scores - middle) * (target - level)).sum()) / spread if spread > 0 else 0.0
    messages = [] if slope > 0 else ["On the calibration rows a higher score means no higher relevance."]
    slope = max(slope, 0.0)
    bias = level - slope * middle
    errors = (estimate(scores, slope, bias) - target) ** 2
    return {
        "scale": slope,
        "bias": bias,
        "rows": len(seen),
        "mse": float(np.average(errors, weights=weights)),
        "messages": messages,
    }


def estimate(scores: Floats, scale: float, bias: float) -> Floats:
    """The relevance that scores stand for, within 0 and 1."""
    return np.clip(scale * scores + bias, 0.0, 1.0)


def finite(scores: pl.Series) -> Floats:
    """Scores as numbers; raises `RetuneError` where one is not finite."""
    if not scores.is_finite().all():
        raise RetuneError("a score is not finite; the model has diverged: lower its learning_rate")
    return scores.to_numpy().astype(np.float64)


def answers(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> RankingAnswers:
    """Scores and estimated relevance of joined rows [n]."""
    scores = finite(joined["score"].drop_nulls())
    seen, relevance = joined["parsed"].to_numpy(), joined["relevance"].to_numpy().astype(np.float64)
    filled, estimates = np.full(len(seen), -np.inf), np.where(relevance >= 0.5, 0.0, 1.0)
    filled[seen] = scores
    estimates[seen] = estimate(scores, fitted["scale"], fitted["bias"])
    return answered(relevance, queries.weights(joined), queries.codes(joined), filled, estimates)


def answered(relevance: Floats, weights: Floats, codes: Integers, scores: Floats, estimates: Floats) -> RankingAnswers:
    """The answers of these scores and estimates [n]."""
    found = ranking_metrics.per_query(codes, relevance, scores)
    values = np.full((len(codes), len(ranking_metrics.METRICS)), np.nan)
    numbers, first = np.unique(codes, return_index=True)
    values[first] = np.stack([found[metric][numbers] for metric in ranking_metrics.METRICS], axis=1)
    return RankingAnswers(relevance, weights, codes, scores, estimates, values)


def order(given: RankingAnswers) -> Integers:
    """As they stand: nothing is sorted."""
    return np.arange(len(given.relevance))


def measure(given: RankingAnswers, weights: Floats) -> dict[str, Floats]:
    """Every metric, [...], of row weights [..., n]; the rows of one query have one weight."""
    result = {}
    for column, metric in enumerate(ranking_metrics.METRICS):
        defined = np.flatnonzero(~np.isnan(given.values[:, column]))
        part = weights[..., defined]
        result[metric] = ratio(total(part, given.values[defined, column]), total(part, np.ones(len(defined))))
    result["pooled_spearman"] = spearman(given.relevance, given.scores, weights)
    errors = given.weights * (given.estimates - given.relevance) ** 2
    result["mse"] = ratio(total(weights, errors), total(weights, given.weights))
    return result


def counted(given: RankingAnswers) -> dict[str, Integers]:
    """The rows that stand for a query in which a metric has a meaning."""
    return {
        metric: np.flatnonzero(~np.isnan(given.values[:, column]))
        for column, metric in enumerate(ranking_metrics.METRICS)
    }


RANGES = {
    **dict.fromkeys(ranking_metrics.METRICS, SHARE),
    **dict.fromkeys(("spearman", "pooled_spearman"), CORRELATION),
    "mse": ERROR,
}
MEASURE = Measure((*ranking_metrics.METRICS, "pooled_spearman", "mse"), measure, order, counted=counted, ranges=RANGES)


def constant_baseline(given: RankingAnswers) -> RankingAnswers:
    """A random order, and the mean relevance as the estimate of every row."""
    level = float(np.average(given.relevance, weights=given.weights))
    same = np.zeros(len(given.relevance))
    return answered(given.relevance, given.weights, given.queries, same, same + level)


def coverage(given: RankingAnswers) -> dict[str, int]:
    """Queries: all, and those that count in NDCG@10, with several judged documents and a relevant one among them."""
    return {"queries": len(np.unique(given.queries)), "queries_counted": len(counted(given)["ndcg@10"])}


def cautions(given: RankingAnswers, spec: Params) -> list[str]:
    """That few queries count."""
    of, number = coverage(given).values()
    if number >= FEW:
        return []
    shown = f"{number:,} of {of:,}" if number < of else f"{number:,}"
    others = "the others have a single judged document, or none of any relevance. " if number < of else ""
    return [
        f"Only {shown} test queries count in the metrics of a ranking: {others}below {FEW} such metrics are rough. "
        "Pooled Spearman is over all judged pairs."
    ]


def wins(a: RankingAnswers, b: RankingAnswers) -> tuple[int, int, float]:
    """Queries in which only a, or only b, has the higher NDCG@10, and the share in which they are alike."""
    column = ranking_metrics.METRICS.index("ndcg@10")
    gains = (a.values - b.values)[:, column]
    gains = gains[~np.isnan(gains)]
    only_a, only_b = int((gains > 1e-12).sum()), int((gains < -1e-12).sum())
    return only_a, only_b, (len(gains) - only_a - only_b) / max(len(gains), 1)


def chained(first: RankingAnswers, second: RankingAnswers, candidates: int) -> tuple[RankingAnswers, float]:
    """The answers of a chain, and the share of the second model's calls that it saves.

    The `candidates` documents of each query that the first model ranks highest stand in the second model's order, with
    its estimates; the others below them in the first one's.
    """
    called = positions(first) <= candidates
    keys = np.stack([called, np.where(called, second.scores, first.scores)], axis=1)
    _, scores = np.unique(keys, axis=0, return_inverse=True)
    estimates = np.where(called, second.estimates, first.estimates)
    given = answered(first.relevance, first.weights, first.queries, scores.ravel().astype(np.float64), estimates)
    return given, 1.0 - float(called.mean())


def positions(given: RankingAnswers) -> Integers:
    """The rank of every row among its query's, from 1 on; equal scores in the order of the rows."""
    order = np.lexsort((np.arange(len(given.scores)), -given.scores, given.queries))
    starts = np.searchsorted(given.queries[order], given.queries[order])
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - starts + 1
    return places


def disagreements(joined: dict[str, pl.DataFrame], models: dict[str, RankingAnswers]) -> pl.DataFrame:
    """The query log: the documents of every query on whose NDCG@10 the models differ, most disputed query first.

    Columns: id, number (of the query), query, document, relevance, then for each model `MODEL.rank` and `MODEL.ndcg`
    (of the query). Sorted by the range of the models' NDCG@10, ties by query, then by relevance.
    """
    column = ranking_metrics.METRICS.index("ndcg@10")
    given = next(iter(models.values()))
    _, first, place = np.unique(given.queries, return_index=True, return_inverse=True)
    ndcg = {name: model.values[first, column][place] for name, model in models.items()}
    spread = np.ptp(np.stack(list(ndcg.values())), axis=0)
    shown = [pl.Series("_spread", spread), pl.Series("number", given.queries)]
    for name, model in models.items():
        shown.append(pl.Series(f"{name}.rank", positions(model)))
        shown.append(pl.Series(f"{name}.ndcg", ndcg[name], nan_to_null=True))
    table = next(iter(joined.values())).select("id", "query", "document", "relevance").with_columns(shown)
    return (
        table.filter(pl.col("_spread").is_not_nan() & (pl.col("_spread") > 1e-12))
        .sort("_spread", "query", "relevance", "id", descending=[True, False, True, False])
        .drop("_spread")
    )
