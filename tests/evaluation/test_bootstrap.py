"""The bootstrap keeps groups together, repeats itself, pairs models, and covers what it should."""

import numpy as np
import polars as pl
import pytest

from retune.evaluation import bootstrap
from retune.evaluation.binary_metrics import METRICS, BinaryAnswers
from retune.evaluation.bootstrap import centred, group_codes, interval, p_value, replicates, resamples
from retune.evaluation.kinds.pair import MEASURE


def model(n, seed, strength=1.0):
    generator = np.random.default_rng(seed)
    labels = (np.random.default_rng(99).random(n) < 0.3).astype(int)
    probabilities = 1 / (1 + np.exp(-strength * (labels - 0.5) - generator.normal(size=n)))
    return BinaryAnswers(labels, (probabilities >= 0.4).astype(int), probabilities)


def test_each_resample_draws_as_many_groups_as_there_are():
    blocks = list(resamples(groups=30, times=500, seed=0, rows=40_000))
    assert len(blocks) > 1
    counts = np.concatenate(blocks)
    assert counts.shape == (500, 30)
    assert set(counts.sum(1)) == {30.0}
    assert counts.mean(0) == pytest.approx(np.ones(30), abs=0.25)


def test_the_same_seed_gives_the_same_replicates_and_another_does_not():
    groups = np.arange(200) // 2
    first, again, other = (replicates(MEASURE, [model(200, 0)], groups, 100, seed)[0] for seed in (7, 7, 8))
    for name in METRICS:
        assert np.array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_the_size_of_a_block_changes_nothing(monkeypatch):
    groups = np.arange(200) // 2
    whole = replicates(MEASURE, [model(200, 0)], groups, 100, 3)[0]
    monkeypatch.setattr(bootstrap, "CELLS", 1000)
    parts = replicates(MEASURE, [model(200, 0)], groups, 100, 3)[0]
    assert all(np.array_equal(whole[name], parts[name]) for name in METRICS)


def test_a_replicate_is_the_metric_of_the_drawn_groups():
    """Against the slow way: rows of each drawn group, copied as often as it was drawn."""
    from sklearn.metrics import accuracy_score, roc_auc_score

    answers, groups = model(120, 1), np.random.default_rng(5).integers(0, 20, 120)
    groups = np.unique(groups, return_inverse=True)[1]
    found = replicates(MEASURE, [answers], groups, 100, 11)[0]
    counts = np.concatenate(list(resamples(groups.max() + 1, 100, 11, 120)))
    for b in range(0, 100, 9):
        rows = np.concatenate([np.tile(np.flatnonzero(groups == g), int(k)) for g, k in enumerate(counts[b])]).astype(
            int
        )
        assert found["auc"][b] == pytest.approx(roc_auc_score(answers.labels[rows], answers.probabilities[rows]))
        assert found["accuracy"][b] == pytest.approx(accuracy_score(answers.labels[rows], answers.decisions[rows]))


def test_models_share_their_resamples():
    """A model and its copy have the same replicates, whatever stands between them."""
    groups = np.arange(150) // 3
    first, _, copy = replicates(MEASURE, [model(150, 0), model(150, 1), model(150, 0)], groups, 100, 0)
    assert all(np.array_equal(first[name], copy[name]) for name in METRICS)


def test_group_codes_follow_the_names_not_the_rows():
    groups = pl.Series(["b", "a", "c", "a"])
    assert group_codes(groups).tolist() == [1, 0, 2, 0]


def test_groups_of_copies_widen_the_interval():
    """Ten copies of every row hold no more knowledge than one: only the group knows."""
    small = model(100, 0)
    copied = BinaryAnswers(*(np.repeat(column, 10) for column in small))
    alone = np.subtract(*interval(replicates(MEASURE, [small], np.arange(100), 1000, 0)[0]["accuracy"], 0.95)[::-1])
    grouped = np.subtract(
        *interval(replicates(MEASURE, [copied], np.arange(1000) // 10, 1000, 0)[0]["accuracy"], 0.95)[::-1]
    )
    naive = np.subtract(*interval(replicates(MEASURE, [copied], np.arange(1000), 1000, 0)[0]["accuracy"], 0.95)[::-1])
    assert grouped == pytest.approx(alone, rel=0.01)
    assert naive < alone / 2


def test_about_95_of_100_intervals_hold_the_true_accuracy():
    """200 test sets of 80 groups with up to four rows, which share their fate; the accuracy is 0.7 by construction."""
    generator, held, trials = np.random.default_rng(2), 0, 200
    for _ in range(trials):
        groups = np.repeat(np.arange(80), generator.integers(1, 5, 80))
        right = (generator.random(80) < 0.7)[groups]
        labels = np.zeros(len(groups), dtype=int)
        answers = BinaryAnswers(labels, 1 - right.astype(int), np.full(len(groups), 0.5))
        low, high = interval(replicates(MEASURE, [answers], groups, 300, 0)[0]["accuracy"], 0.95)
        held += low <= 0.7 <= high
    assert 0.89 <= held / trials <= 0.99


def test_p_is_uniform_when_there_is_no_difference():
    generator = np.random.default_rng(0)
    p = [p_value(generator.normal(size=40).mean() + generator.normal(size=400) / np.sqrt(40)) for _ in range(600)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08
    assert 0.43 <= np.mean(np.array(p) < 0.5) <= 0.57


def test_p_and_interval_say_the_same():
    generator = np.random.default_rng(1)
    for shift in (-3.0, -2.3, -1.5, 0.0, 1.6, 2.2, 4.0):
        draws = generator.normal(shift, 1.0, 1999)
        low, high = interval(draws, 0.95)
        assert (low > 0 or high < 0) == (p_value(draws) < 0.05)


def test_undefined_replicates_are_left_out():
    draws = np.array([np.nan, 1.0, 2.0, 3.0])
    assert interval(draws, 0.5) == (1.5, 2.5)
    assert p_value(draws) == pytest.approx(0.5)
    assert interval(draws[:1], 0.95) is None
    assert p_value(draws[:1]) is None
    assert np.nanmean(centred(draws, 5.0)) == 5.0
    assert np.isnan(centred(draws[:1], 5.0)).all()
