"""Metrics of a ranking against a written-out example, scikit-learn, and the mean over all orders of tied documents."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, ndcg_score

from retune.evaluation import ranking_metrics
from retune.evaluation.ranking_metrics import METRICS, of_query

GRADES = (0.0, 0.33, 0.67, 1.0)
lists = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from(GRADES), min_size=n, max_size=n), st.lists(st.integers(0, 3), min_size=n, max_size=n)
    )
)


def slow(metric: str, relevance: list[float]) -> float:
    """One metric of documents in their final order, by its definition."""
    name, _, cut = metric.partition("@")
    depth = int(cut) if cut else len(relevance)
    hits = [r >= 0.5 for r in relevance]
    if name == "ndcg":
        best = sum(r / math.log2(i + 2) for i, r in enumerate(sorted(relevance, reverse=True)[:depth]))
        return sum(r / math.log2(i + 2) for i, r in enumerate(relevance[:depth])) / best if best else math.nan
    if not any(hits):
        return math.nan
    if name == "mrr":
        return max((1 / (i + 1) for i, hit in enumerate(hits[:depth]) if hit), default=0.0)
    if name == "recall":
        return sum(hits[:depth]) / sum(hits)
    return sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit) / sum(hits)


def test_a_written_out_example():
    relevance = np.array([1.0, 0.0, 0.67, 0.33])
    scores = np.array([0.2, 0.9, 0.5, 0.1])  # order: 0.0, 0.67, 1.0, 0.33
    gain = 0.67 / math.log2(3) + 1.0 / 2 + 0.33 / math.log2(5)
    best = 1.0 + 0.67 / math.log2(3) + 0.33 / 2
    found = {metric: of_query(metric, relevance, scores) for metric in METRICS}
    assert found["ndcg@10"] == pytest.approx(gain / best)
    assert found["ndcg@1"] == 0.0
    assert found["mrr@10"] == 1 / 2
    assert found["map"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["recall@3"] == 1.0
    assert found["spearman"] == pytest.approx(-0.4)


@given(lists)
def test_tied_documents_count_as_the_mean_over_their_orders(rows):
    relevance, scores = np.array(rows[0]), np.array(rows[1], dtype=np.float64)
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    for metric in (*METRICS[:-1], "mrr@2"):
        wanted = np.mean([slow(metric, relevance[list(order)].tolist()) for order in orders])
        assert of_query(metric, relevance, scores) == pytest.approx(wanted, nan_ok=True), metric


@given(lists)
def test_ndcg_and_spearman_are_those_of_scikit_learn_and_scipy(rows):
    relevance, scores = np.array(rows[0]), np.array(rows[1], dtype=np.float64)
    if relevance.any():
        assert of_query("ndcg@3", relevance, scores) == pytest.approx(ndcg_score([relevance], [scores], k=3))
    if np.ptp(relevance) and np.ptp(scores):
        assert of_query("spearman", relevance, scores) == pytest.approx(spearmanr(relevance, scores).statistic)
    if len(set(scores)) == len(scores) and (relevance >= 0.5).any():
        wanted = average_precision_score(relevance >= 0.5, scores)
        assert of_query("map", relevance, scores) == pytest.approx(wanted)


def test_a_metric_without_meaning_is_not_a_number():
    nothing = np.zeros(3)
    assert all(math.isnan(of_query(metric, nothing, np.arange(3.0))) for metric in METRICS)
    single = ranking_metrics.per_query(np.array([0, 1, 1]), np.array([1.0, 0.0, 1.0]), np.array([5.0, 1.0, 2.0]))
    assert all(math.isnan(single[metric][0]) and not math.isnan(single[metric][1]) for metric in METRICS)


def test_rows_of_a_query_may_stand_anywhere():
    queries, relevance = np.array([1, 0, 1, 0]), np.array([1.0, 0.0, 0.0, 1.0])
    found = ranking_metrics.per_query(queries, relevance, np.array([2.0, 3.0, 1.0, 4.0]), ("ndcg@1", "mrr@10"))
    assert found["ndcg@1"].tolist() == [1.0, 1.0]
