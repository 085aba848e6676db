"""Losses of embedders and rerankers against loops in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retune.encoders import ranking_losses

seeds = st.integers(0, 10_000)


def batch(seed: int, queries: int = 3, documents: int = 5):
    random = torch.Generator().manual_seed(seed)
    cosines = torch.rand(queries, documents, generator=random, dtype=torch.float64) * 2 - 1
    relevance = torch.randint(0, 4, cosines.shape, generator=random).double() / 3
    relevance[torch.rand(cosines.shape, generator=random) < 0.4] = torch.nan
    weights = torch.rand(cosines.shape, generator=random, dtype=torch.float64) + 0.5
    return cosines.requires_grad_(), relevance, weights


@given(seeds)
def test_in_batch_negatives_are_all_documents_that_are_not_positive_for_the_query(seed):
    cosines, relevance, weights = batch(seed)
    total, share = 0.0, 0.0
    for q in range(len(cosines)):
        others = [j for j in range(cosines.shape[1]) if not relevance[q, j] >= 0.5]
        for d in range(cosines.shape[1]):
            if relevance[q, d] >= 0.5:
                logits = [cosines[q, j].item() / 0.1 for j in [d, *others]]
                loss = math.log(sum(math.exp(value) for value in logits)) - logits[0]
                total, share = total + weights[q, d].item() * loss, share + weights[q, d].item()
    found = ranking_losses.in_batch(cosines, relevance, weights, 0.1)
    assert found.item() == pytest.approx(total / share if share else 0.0, abs=1e-9)
    found.backward()
    assert cosines.grad.isfinite().all()


def test_a_query_whose_documents_are_all_positive_teaches_nothing_and_breaks_nothing():
    cosines = torch.tensor([[0.5, 0.2]], requires_grad=True)
    loss = ranking_losses.in_batch(cosines, torch.ones(1, 2), torch.ones(1, 2), 0.05)
    loss.backward()
    assert loss.item() == 0
    assert cosines.grad.tolist() == [[0, 0]]


def test_the_weight_of_a_row_counts_inside_the_mean_of_its_squared_error():
    found = ranking_losses.cosine_mse(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.5]))
    assert found.item() == pytest.approx((2.0 * 0.25 + 0.5 * 1.0) / 2)


@given(seeds)
def test_ranknet_counts_every_pair_of_a_query_whose_relevance_differs(seed):
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(7, generator=random, dtype=torch.float64)
    relevance = torch.randint(0, 3, (7,), generator=random).double() / 2
    weights, queries = torch.rand(7, generator=random).double() + 0.5, torch.tensor([0, 0, 0, 1, 1, 1, 2])
    total, share = 0.0, 0.0
    for i in range(7):
        for j in range(7):
            if queries[i] == queries[j] and relevance[i] > relevance[j]:
                weight = ((relevance[i] - relevance[j]) * (weights[i] + weights[j]) / 2).item()
                total += weight * math.log1p(math.exp(scores[j] - scores[i]))
                share += weight
    found = ranking_losses.ranknet(scores, relevance, weights, queries).item()
    assert found == pytest.approx(total / share if share else 0.0)


def test_listnet_is_the_cross_entropy_of_two_softmaxes_and_leaves_single_documents_out():
    scores, relevance = torch.tensor([1.0, 0.0, 9.0]), torch.tensor([1.0, 0.5, 0.0])
    target = [math.exp(1 / 0.5), math.exp(0.5 / 0.5)]
    target = [value * weight for value, weight in zip(target, (2.0, 1.0), strict=True)]
    log = [1 - math.log(math.e + 1), -math.log(math.e + 1)]
    wanted = -sum(t / sum(target) * value for t, value in zip(target, log, strict=True))
    queries, weights = torch.tensor([4, 4, 7]), torch.tensor([2.0, 1.0, 1.0])
    assert ranking_losses.listnet(scores, relevance, weights, queries, 0.5).item() == pytest.approx(wanted, rel=1e-6)


def test_the_margin_loss_stops_where_the_gap_is_wide_enough():
    positive, negative = torch.tensor([0.9, 0.6]), torch.tensor([0.7, 0.55])
    assert ranking_losses.margin(positive, negative, 0.1).item() == pytest.approx(0.025)
    assert ranking_losses.margin(positive[:0], negative[:0], 0.1).item() == 0
