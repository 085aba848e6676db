"""Metrics of estimated scores: against scikit-learn and scipy, a written-out example, and repeated rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.evaluation.score_metrics import METRICS, ScoreAnswers, bin_of, measure, rounded

LIMITS, BINS = (1, 10), (4, 8)


def answers(gold, estimates, seen=None, limits=LIMITS, bins=BINS):
    gold, estimates = np.asarray(gold, dtype=float), np.asarray(estimates, dtype=float)
    seen = np.ones(len(gold), dtype=bool) if seen is None else np.asarray(seen)
    level = np.full(len(gold), gold.mean())
    return ScoreAnswers(gold, estimates, seen, level, np.zeros(len(gold), dtype=np.int64), limits, bins)


def example(rows=300, seed=0):
    random = np.random.default_rng(seed)
    gold = random.integers(1, 11, rows)
    estimates = np.clip(gold + random.normal(0, 2, rows), 1, 10)
    estimates[: rows // 3] = np.round(estimates[: rows // 3])  # ties
    return answers(gold, estimates)


def of(given_, weights=None):
    weights = np.ones(len(given_.gold)) if weights is None else weights
    return {name: float(value) for name, value in measure(given_, weights).items()}


def test_the_metrics_are_those_of_scikit_learn_and_scipy():
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error, root_mean_squared_error

    given_ = example()
    found, whole = of(given_), rounded(given_.estimates, LIMITS)
    assert tuple(found) == METRICS
    assert found["mae"] == pytest.approx(mean_absolute_error(given_.gold, given_.estimates))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(given_.gold, given_.estimates))
    assert found["pearson"] == pytest.approx(pearsonr(given_.gold, given_.estimates).statistic)
    assert found["spearman"] == pytest.approx(spearmanr(given_.gold, given_.estimates).statistic)
    assert found["exact"] == pytest.approx(accuracy_score(given_.gold, whole))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(given_.gold, whole, weights="quadratic"))
    bins = [np.digitize(values, BINS) for values in (given_.gold, whole)]
    assert found["bin_accuracy"] == pytest.approx(accuracy_score(*bins))


def test_a_written_out_example():
    """Errors 0, 1, 0.5 and 6; rounded 2, 4, 8 (7.5 goes up) and 9; bins low, middle, high: 3 | 4 and 7.5 | 8 part."""
    found = of(answers([2, 3, 8, 3], [2, 4, 7.5, 9]))
    assert found["mae"] == pytest.approx(7.5 / 4)
    assert found["rmse"] == pytest.approx((37.25 / 4) ** 0.5)
    assert found["exact"] == 0.5
    assert found["within_1"] == 0.75
    assert found["bin_accuracy"] == 0.5
    # squared differences of the rounded: 0 + 1 + 0 + 36 = 37; of all 16 pairings: 4 + 36 + ... = 228, a fourth of it 57
    pairings = sum((g - p) ** 2 for g in (2, 3, 8, 3) for p in (2, 4, 8, 9)) / 4
    assert found["kappa"] == pytest.approx(1 - 37 / pairings)
    # ranks 1, 2.5, 4, 2.5 against 1, 2, 3, 4
    assert found["spearman"] == pytest.approx(np.corrcoef([1, 2.5, 4, 2.5], [1, 2, 3, 4])[0, 1])


def of_dimensions(rows, seed=0):
    """Dimensions of other levels and sizes, a model that knows the levels and little else; the last does not vary."""
    random = np.random.default_rng(seed)
    dimensions = random.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])
    gold = np.clip(1 + 2 * dimensions + random.integers(0, 4, rows), 1, 10).astype(float)
    gold[dimensions == 3] = 9
    estimates = np.clip(2 + 2 * dimensions + 0.3 * (gold - 2 * dimensions) + random.normal(0, 1, rows), 1, 10)
    return answers(gold, estimates)._replace(dimensions=dimensions)


def test_correlations_are_within_the_dimensions_and_weighted_by_their_rows():
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import cohen_kappa_score

    given_ = of_dimensions(400)
    found, whole = of(given_), rounded(given_.estimates, LIMITS)
    parts = [np.flatnonzero(given_.dimensions == code) for code in range(3)]  # the fourth has one gold score
    for name, measured in (
        ("pearson", lambda rows: pearsonr(given_.gold[rows], given_.estimates[rows]).statistic),
        ("spearman", lambda rows: spearmanr(given_.gold[rows], given_.estimates[rows]).statistic),
        ("kappa", lambda rows: cohen_kappa_score(given_.gold[rows], whole[rows], weights="quadratic")),
    ):
        wanted = np.average([measured(rows) for rows in parts], weights=[len(rows) for rows in parts])
        assert found[name] == pytest.approx(wanted), name
    pooled = spearmanr(given_.gold, given_.estimates).statistic
    assert pooled > found["spearman"] + 0.3, "over all rows, a model that knows the levels looks good"
    constant = of(given_._replace(estimates=2.0 + 2 * given_.dimensions))
    assert (constant["pearson"], constant["spearman"], constant["kappa"]) == (0.0, 0.0, pytest.approx(0, abs=0.2))


@given(weights=st.lists(st.integers(0, 3), min_size=40, max_size=40))
@settings(max_examples=40, deadline=None)
def test_a_weight_of_two_is_a_row_that_occurs_twice_in_its_dimension(weights):
    given_, counts = of_dimensions(40), np.array(weights)
    if not sum(weights):
        return
    weighted, plain = of(given_, counts.astype(float)), of(given_.take(np.repeat(np.arange(40), counts)))
    for name in METRICS:
        assert weighted[name] == pytest.approx(plain[name], nan_ok=True, abs=1e-9), name


def test_halves_are_rounded_upwards_and_bins_begin_at_their_score():
    assert rounded(np.array([0.2, 4.5, 5.5, 5.49, 11.0]), LIMITS).tolist() == [1, 5, 6, 5, 10]
    assert bin_of(np.array([1, 3, 4, 7, 8, 10]), BINS).tolist() == [0, 0, 1, 1, 2, 2]


@given(weights=st.lists(st.integers(0, 3), min_size=40, max_size=40))
@settings(max_examples=40, deadline=None)
def test_a_weight_of_two_is_a_row_that_occurs_twice(weights):
    if not sum(weights):
        return
    given_, counts = example(40), np.array(weights)
    weighted = of(given_, counts.astype(float))
    plain = of(given_.take(np.repeat(np.arange(40), counts)))
    for name in METRICS:
        assert weighted[name] == pytest.approx(plain[name], nan_ok=True, abs=1e-9), name


def test_the_order_of_the_rows_and_the_number_of_resamples_change_nothing():
    random = np.random.default_rng(1)
    given_ = example()
    weights, order = random.integers(0, 4, size=(5, 300)).astype(float), random.permutation(300)
    together, moved = measure(given_, weights), measure(given_.take(order), weights[:, order])
    for name in METRICS:
        assert together[name] == pytest.approx(moved[name]), name
        assert of(given_, weights[3])[name] == pytest.approx(together[name][3]), name


def test_what_does_not_vary_has_no_correlation():
    found = of(answers([1, 5, 9], [5.3, 5.3, 5.3]))
    assert found["pearson"] == found["spearman"] == 0, "it says nothing of the order"
    assert found["kappa"] == pytest.approx(0)
    assert np.isnan(of(answers([5, 5], [5, 6]))["pearson"])
    assert np.isnan(of(answers([5, 5], [5, 5]))["kappa"])
    little = of(answers([1, 5, 9], [5.3, 5.3 + 1e-6, 5.3 + 2e-6]))
    assert little["pearson"] == pytest.approx(1, abs=1e-6)


def test_no_share_counts_a_row_without_an_answer():
    found = of(answers([1, 2], [2, 2], seen=[False, True], limits=(1, 2), bins=()))
    assert (found["within_1"], found["bin_accuracy"], found["exact"]) == (0.5, 0.5, 0.5)
