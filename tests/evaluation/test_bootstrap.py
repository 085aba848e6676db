"""The bootstrap keeps groups together, repeats itself, pairs models, and covers what it should."""

import numpy as np
import polars as pl
import pytest

from retune.evaluation import bootstrap
from retune.evaluation.binary_metrics import METRICS, BinaryAnswers
from retune.evaluation.bootstrap import centred, expanded, interval, replicates, resamples, t_interval
from retune.evaluation.groups import codes, least_p, shortage
from retune.evaluation.intervals import summarise
from retune.evaluation.kinds import classification, pair, ranking, scoring
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
    assert codes(groups).tolist() == [1, 0, 2, 0]


def test_groups_of_copies_widen_the_interval():
    """Ten copies of every row hold no more knowledge than one: only the group knows."""
    small = model(100, 0)
    copied = BinaryAnswers(*(np.repeat(column, 10) for column in small[:3]))
    alone = np.subtract(
        *interval(replicates(MEASURE, [small], np.arange(100), 1000, 0)[0]["accuracy"], 0.95, 100)[::-1]
    )
    grouped = np.subtract(
        *interval(replicates(MEASURE, [copied], np.arange(1000) // 10, 1000, 0)[0]["accuracy"], 0.95, 100)[::-1]
    )
    naive = np.subtract(
        *interval(replicates(MEASURE, [copied], np.arange(1000), 1000, 0)[0]["accuracy"], 0.95, 1000)[::-1]
    )
    assert grouped == pytest.approx(alone, rel=0.01)
    assert naive < alone / 2


@pytest.mark.parametrize("groups", [6, 12, 80])
def test_about_95_of_100_intervals_hold_the_true_accuracy_whatever_the_number_of_groups(groups):
    """300 test sets whose groups differ in how often a model is right: 0.7 on average, by construction.

    Plain percentiles hold the truth in 0.82 (6 groups) and 0.90 (12) of the sets.
    """
    generator, held, plain, sets = np.random.default_rng(2), 0, 0, 300
    draws = np.concatenate(list(resamples(groups, 400, 0, groups))) / groups
    for _ in range(sets):
        shares = draws @ generator.binomial(20, generator.beta(3.5, 1.5, groups)) / 20
        low, high = interval(shares, 0.95, groups)
        held += low <= 0.7 <= high
        plain += np.quantile(shares, 0.025) <= 0.7 <= np.quantile(shares, 0.975)
    assert 0.91 <= held / sets <= 0.985
    if groups < 20:
        assert plain / sets < 0.915
        assert held - plain > 0.03 * sets


@pytest.mark.slow
@pytest.mark.parametrize("groups", [6, 12])
def test_about_95_of_100_intervals_hold_the_true_auc_of_few_groups(groups):
    """120 test sets; rows of both labels are normal, 2 apart, and a third of their variance is their group's.

    So a positive row is above a negative one of another group with the chance Phi(sqrt(2)). Percentiles hold that in
    0.86 (6 groups) and 0.90 (12) of the sets, expanded as they are.
    """
    from scipy import stats

    truth, held, plain, sets = stats.norm.cdf(2 / np.sqrt(2)), 0, 0, 120
    of = np.repeat(np.arange(groups), 10)
    for seed in range(1, sets + 1):
        generator = np.random.default_rng(seed)
        labels = (generator.random(len(of)) < 0.3).astype(np.int64)
        scores = 2.0 * labels + 0.6 * generator.normal(size=groups)[of] + 0.8 * generator.normal(size=len(of))
        given = BinaryAnswers(labels, labels, 1 / (1 + np.exp(-scores)))
        drawn = replicates(pair.MEASURE, [given], of, 200, seed)[0]
        found = summarise(pair.MEASURE, given, of, drawn, 0.95)["auc"]
        low, high = interval(drawn["auc"], 0.95, groups)
        held += found["low"] <= truth <= found["high"]
        plain += low <= truth <= high
    assert 0.92 <= held / sets <= 0.99
    assert held - plain > 0.03 * sets


def test_an_interval_within_limits_is_that_of_student_t_on_the_scale_of_log_odds():
    from scipy import special, stats

    drawn = np.random.default_rng(0).normal(0.9, 0.04, 500).clip(0, 1)
    reach = stats.t.ppf(0.975, 5) * np.sqrt(6 / 5) * drawn.std()
    wanted = special.expit(special.logit(0.9) + np.array([-1, 1]) * reach / (0.9 * 0.1))
    assert t_interval(0.9, drawn, 0.95, 6, (0.0, 1.0)) == pytest.approx(wanted)
    low, high = t_interval(0.1, 1 - drawn, 0.95, 6, (0.0, 1.0))
    assert (1 - high, 1 - low) == pytest.approx(wanted)
    assert t_interval(0.8, 2 * drawn - 1, 0.95, 6, (-1.0, 1.0)) == pytest.approx(2 * wanted - 1)
    low, high = t_interval(4.0, 10 * drawn, 0.95, 6, (0.0, np.inf))
    assert (np.sqrt(low) + np.sqrt(high)) / 2 == pytest.approx(2.0)
    assert np.sqrt(high) - 2.0 == pytest.approx(10 * reach / 4)


def test_an_interval_stays_within_its_limits_and_holds_its_value():
    drawn = np.random.default_rng(0).random(50)
    for limits, value in (((0.0, 1.0), 1e-12), ((0.0, 1.0), 1 - 1e-12), ((-1.0, 1.0), 0.999), ((0.0, np.inf), 1e-9)):
        low, high = t_interval(value, drawn, 0.95, 2, limits)
        assert limits[0] <= low <= value <= high <= limits[1], value
        assert np.isfinite(high)
    for value in (0.0, 1.0, np.nan):  # no scale there
        assert t_interval(value, drawn, 0.95, 6, (0.0, 1.0)) == interval(drawn, 0.95, 6)
    assert t_interval(0.5, np.full(9, 0.5), 0.95, 6, (0.0, 1.0)) == (0.5, 0.5)
    assert t_interval(0.5, drawn, 0.95, 1, (0.0, 1.0)) is None
    assert t_interval(0.5, np.full(9, np.nan), 0.95, 6, (0.0, 1.0)) is None


@pytest.mark.parametrize("kind", [classification, pair, ranking, scoring])
def test_every_metric_has_a_range_but_for_what_percentiles_suit_better(kind):
    apart = {"macro_f1", "tail_f1"} if kind is classification else set()
    assert {*kind.MEASURE.ranges, *kind.MEASURE.squares, *apart} == set(kind.MEASURE.metrics)
    assert not apart & set(kind.MEASURE.ranges)
    for metric, (low, _) in kind.MEASURE.ranges.items():
        assert (low < 0) == (metric in ("pearson", "spearman", "pooled_spearman", "kappa"))


def test_percentiles_are_expanded_as_student_t_is_beside_the_normal():
    from scipy import stats

    for groups in (2, 3, 6, 7, 12, 26, 501):
        distance = stats.t.ppf(0.975, groups - 1) * np.sqrt(groups / (groups - 1))
        assert expanded(0.95, groups) == pytest.approx(1 - 2 * stats.norm.sf(distance), abs=1e-9)
    normal = np.random.default_rng(0).normal(size=100_000)
    assert interval(normal, 0.95, 5)[1] == pytest.approx(stats.t.ppf(0.975, 4) * np.sqrt(5 / 4), rel=0.04)


def test_one_group_has_no_interval_and_few_groups_are_warned_of():
    assert interval(np.full(100, 0.5), 0.95, 1) is None
    assert shortage(20, 0.95) is None
    assert "only 12 groups" in shortage(12, 0.95)
    assert "no p can fall below 0.0625" in shortage(5, 0.95)
    assert "no intervals" in shortage(1, 0.95)
    assert [least_p(groups) for groups in (1, 2, 6)] == [1.0, 0.5, 1 / 32]


def test_undefined_replicates_are_left_out():
    draws = np.array([np.nan, 1.0, 2.0, 3.0])
    assert interval(draws, 0.5, 10_000) == pytest.approx((1.5, 2.5), abs=1e-3)
    assert interval(draws[:1], 0.95, 10) is None
    assert np.nanmean(centred(draws, 5.0)) == 5.0
    assert np.isnan(centred(draws[:1], 5.0)).all()
