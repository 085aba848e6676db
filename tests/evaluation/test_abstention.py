"""Which answers are kept back: the thresholds against independent formulas, and what models without the key keep."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retune.evaluation import abstention
from retune.evaluation.abstention import NEVER, SHARES, SILENT, Decisions
from retune.params import Params

PAIR = Params(labels=["0", "1"], threshold="f1", temperature=True)


def joined(labels, prob_1, groups=None):
    first = [None if p is None else 1 - p for p in prob_1]
    table = {"group": groups or [f"g{i}" for i in range(len(labels))], "label": labels, "prob_0": first}
    return pl.DataFrame({**table, "prob_1": prob_1, "parsed": [p is not None for p in prob_1]})


def rows(seed, count, size=1):
    random = np.random.default_rng(seed)
    sure = random.random(count)
    return Decisions(sure, (random.random(count) > sure).astype(np.int64), np.arange(count) // size)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 20), st.floats(0.001, 0.2))
def test_the_bound_of_single_rows_is_that_of_clopper_and_pearson(count, wrong, doubt):
    wrong = min(wrong, count)
    expected = stats.beta.ppf(1 - doubt, wrong + 1, count - wrong) if wrong < count else 1.0
    answers = np.array([1] * wrong + [0] * (count - wrong))
    assert abstention.upper_bound(answers, np.arange(count), doubt) == pytest.approx(expected, abs=1e-9)


def test_rows_of_one_group_count_as_one_in_the_bound():
    once, of = np.array([1, 0, 0, 0, 0, 0]), np.arange(6)
    alone = abstention.upper_bound(once, of, 0.05)
    assert abstention.upper_bound(np.repeat(once, 7), np.repeat(of, 7), 0.05) == pytest.approx(alone)
    assert abstention.upper_bound(np.repeat(once, 7), np.arange(42), 0.05) < alone


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("count", [19, 20, 99, 175])
def test_the_threshold_of_coverage_is_the_conformal_quantile(count, coverage):
    sure = rows(count, count).confidences
    below = abstention.coverage_threshold(sure, coverage, count)
    k = math.floor((count + 1) * (1 - coverage) + 1e-9)  # the k-th smallest is the first that is answered
    ordered = np.sort(sure)
    if k == 0:
        assert below == 0
    else:
        assert (ordered[k - 2] if k > 1 else 0) < below <= ordered[k - 1]


def test_coverage_is_kept_over_simulated_splits():
    kept = [1 - abstention.coverage_threshold(rows(seed, 60).confidences, 0.8, 60) for seed in range(400)]
    assert 0.8 - 0.01 < np.mean(kept) < 0.8 + 1 / 61 + 0.01  # of uniform confidences the share above is known


@pytest.mark.slow
def test_the_error_is_broken_in_no_more_splits_than_promised():
    below = [abstention.error_threshold(rows(seed, 1000), 0.2, 0.9)[0] for seed in range(250)]
    broken = [(1 - one) / 2 > 0.2 for one in below if one != NEVER]  # confidence is the chance to be right
    assert len(broken) > 200
    assert np.mean(broken) <= 0.1


def test_the_threshold_of_an_error_is_the_lowest_whose_bound_is_low_enough():
    given_ = rows(3, 400)
    below, bound = abstention.error_threshold(given_, 0.25, 0.95)
    order = np.argsort(given_.confidences)
    found = []
    for share in SHARES:
        kept = order[400 - round(400 * share) :]
        wrong = given_.wrong[kept].sum()
        found.append((stats.beta.ppf(1 - 0.05 / len(SHARES), wrong + 1, len(kept) - wrong), kept))
    expected, kept = next(one for one in found if one[0] <= 0.25)
    assert bound == pytest.approx(expected)
    assert set(np.flatnonzero(given_.confidences >= below)) == set(kept)


def test_an_error_that_cannot_be_kept_answers_nothing_and_says_what_could():
    spec = PAIR | {"abstain": Params(error=0.05, confidence=0.95)}
    fitted = {"temperature": 1.0, "threshold": 0.5, "messages": ["first"]}
    table = joined([0, 1] * 10, [0.1, 0.9] * 10)
    found = abstention.calibrate(table, fitted, Params(spec))
    assert found["abstain_below"] == NEVER > 1
    bound = 1 - 0.005 ** (1 / 20)
    assert found["messages"][0] == "first"
    assert f"the least upper bound is {bound:.3g}, on 20 calibration rows of 20 groups" in found["messages"][1]
    assert found["abstention"] == {
        "promised": {"error": 0.05, "confidence": 0.95, "bound": pytest.approx(bound)},
        "rows": 20, "groups": 20, "answered": 0.0, "wrong": None,
    }  # fmt: skip


def test_too_few_groups_keep_nothing_back_and_say_how_many_it_takes():
    spec = Params(PAIR | {"abstain": Params(coverage=0.9)})
    fitted = {"temperature": 1.0, "threshold": 0.5, "messages": []}
    for count, below in ((8, 0.0), (9, 0.55)):
        table = joined([1] * count, [0.55, *[0.9] * (count - 1)])
        found = abstention.calibrate(table, fitted, spec)
        assert found["abstain_below"] == pytest.approx(below)
        assert [("it takes 9 groups" in one, "there are 8" in one) for one in found["messages"]] == [(True, True)] * (
            count == 8
        )


def test_a_task_without_the_key_adds_nothing():
    fitted = {"temperature": 1.0, "threshold": 0.5, "messages": []}
    assert abstention.calibrate(joined([0, 1], [0.1, 0.9]), fitted, PAIR) == {}


def test_the_confidence_of_a_pair_is_the_probability_of_what_its_threshold_decides():
    fitted = {"temperature": 1.0, "threshold": 0.2}
    found = abstention.decisions(joined([0, 1, 1], [0.1, 0.3, None]), fitted, PAIR)
    assert found.confidences == pytest.approx([0.9, 0.3, SILENT])
    assert found.wrong.tolist() == [0, 0, 1]


def test_the_confidence_of_classes_is_the_calibrated_probability_of_the_likeliest():
    table = pl.DataFrame(
        {"group": ["a", "b"], "label": ["x", "z"], "prob_0": [0.5, 0.2], "prob_1": [0.25, 0.7], "prob_2": [0.25, 0.1]}
    ).with_columns(parsed=True)
    found = abstention.decisions(table, {"temperature": 0.5}, Params(labels=["x", "y", "z"]))
    assert found.confidences == pytest.approx([0.25 / 0.375, 0.49 / 0.54])
    assert found.wrong.tolist() == [0, 1]


def test_none_of_these_is_no_higher_than_what_is_kept_back():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1, 1, 1], size=200)
    table = pl.DataFrame(probabilities, schema=["prob_0", "prob_1", "prob_2"]).with_columns(
        group=pl.int_range(200).cast(pl.String), label=pl.lit("x"), parsed=True
    )
    spec = Params(labels=["x", "y", "z"], abstain=Params(coverage=0.8, none_of_these=0.1))
    found = abstention.calibrate(table, {"temperature": 1.0, "messages": []}, spec)
    sure = probabilities.max(axis=1)
    assert found["none_below"] < found["abstain_below"]
    assert (sure < found["none_below"]).sum() == 19  # the 20th smallest of 200 is the first that is of one
    assert (sure < found["abstain_below"]).sum() == 39
    alone = abstention.calibrate(
        table, {"temperature": 1.0, "messages": []}, Params(spec | {"abstain": Params(none_of_these=0.1)})
    )
    assert alone["abstain_below"] == alone["none_below"] == found["none_below"]


def test_what_a_thinking_model_says_without_thinking_has_a_threshold_of_its_own():
    table = joined([0, 1] * 10, [0.1, 0.9] * 10).with_columns(direct_prob_0=0.4, direct_prob_1=0.6)
    fitted = {"temperature": 1.0, "threshold": 0.5, "messages": []}
    fitted |= {"direct": dict(fitted)}
    spec = Params(PAIR | {"kind": "pair", "abstain": Params(coverage=0.9)})
    found = abstention.calibrate(table, fitted, spec)
    assert found["abstain_below"] == pytest.approx(0.9)
    assert found["direct"]["abstain_below"] == pytest.approx(0.6)
