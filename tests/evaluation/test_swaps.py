"""The test that swaps two models' answers group by group: exact for few groups, level held, groups kept together."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from retune.evaluation.binary_metrics import BinaryAnswers
from retune.evaluation.kinds.pair import MEASURE
from retune.evaluation.measure import Measure
from retune.evaluation.reasons import MEASURE as REASONS
from retune.evaluation.reasons import RationaleAnswers
from retune.evaluation.swaps import swap_test
from retune.evaluation.weighted import ratio, total


def model(of, seed, strength=1.0):
    labels = (np.random.default_rng(99).random(len(of)) < 0.4).astype(int)
    random = np.random.default_rng(seed)
    probabilities = 1 / (1 + np.exp(-strength * (labels - 0.5) - random.normal(size=len(of))))
    return BinaryAnswers(labels, (probabilities >= 0.5).astype(int), probabilities, of)


def test_p_of_six_groups_is_that_of_all_64_swaps():
    of = np.random.default_rng(0).permutation(np.repeat(np.arange(6), [5, 9, 14, 8, 12, 7]))
    a, b = model(of, 0, 2.0), model(of, 20, 1.0)

    def differences(swapped):
        first = np.where(np.isin(of, swapped), b.probabilities, a.probabilities)
        second = np.where(np.isin(of, swapped), a.probabilities, b.probabilities)
        auc = roc_auc_score(a.labels, first) - roc_auc_score(a.labels, second)
        return auc, f1_score(a.labels, first >= 0.5) - f1_score(a.labels, second >= 0.5)

    every = [differences(s) for size in range(7) for s in itertools.combinations(range(6), size)]
    wanted = (np.abs(every) >= np.abs(every[0]) - 1e-12).mean(0)
    found = swap_test(MEASURE, a, b, of, 1000, 0)
    assert (found["auc"], found["f1"]) == ((wanted[0], False), (wanted[1], False))
    assert 2 / 64 < wanted[0] < 1
    random = swap_test(MEASURE, a, b, of, 31, 0)["auc"]
    assert random.value != wanted[0], "31 random ones"
    assert swap_test(MEASURE, a, b, of, 32, 0)["auc"].value == wanted[0]


def test_many_groups_are_swapped_at_random_and_p_is_never_zero():
    of = np.arange(300)
    good, poor = model(of, 1, 6.0), model(of, 2, 0.2)
    found = swap_test(MEASURE, good, poor, of, 400, 0)
    assert found["auc"] == (1 / 401, True)
    assert swap_test(MEASURE, poor, good, of, 400, 0) == found
    assert swap_test(MEASURE, good, good, of, 400, 0)["auc"] == (1.0, False)
    near = swap_test(MEASURE, model(of, 1), model(of, 2), of, 400, 0)["brier"]
    assert near.value > 0.01
    assert not near.at_most


def test_rows_of_a_group_are_swapped_together():
    """Ten copies of every row hold no more knowledge than one."""
    of = np.arange(24)
    a, b = model(of, 3, 2.0), model(of, 4)
    copied = [one.take(np.repeat(of, 10)) for one in (a, b)]
    alone = swap_test(MEASURE, a, b, of, 500, 0)["brier"].value
    assert swap_test(MEASURE, *copied, np.repeat(of, 10), 500, 0)["brier"].value == pytest.approx(alone)
    assert swap_test(MEASURE, *copied, np.arange(240), 500, 0)["brier"].value < alone / 2


def test_a_metric_without_a_value_has_no_p():
    one = RationaleAnswers(np.ones(5), np.zeros(5), np.full((5, 4), np.nan))
    assert swap_test(REASONS, one, one, np.arange(5), 100, 0)["terms"] is None


MEANS = Measure(
    ("mean",),
    lambda given, weights: {"mean": ratio(total(weights, given.figures), weights.sum(-1))},
    lambda given: np.arange(len(given.figures)),
)


@pytest.mark.parametrize("groups", [6, 12, 26])
def test_five_of_a_hundred_equal_models_are_called_different_at_most(groups):
    """300 pairs of models that are equally good, on groups of four rows that share most of their chance."""
    random, alarms = np.random.default_rng(groups), 0
    of = np.repeat(np.arange(groups), 4)
    for _ in range(300):
        both = [np.repeat(random.standard_t(4, groups), 4) + 0.3 * random.normal(size=4 * groups) for _ in range(2)]
        a, b = (RationaleAnswers(values, values, np.zeros((len(of), 4))) for values in both)
        alarms += swap_test(MEANS, a, b, of, 200, 0)["mean"].value < 0.05
    assert alarms / 300 < 0.09
    assert alarms > 0
