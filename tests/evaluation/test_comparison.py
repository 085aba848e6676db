"""Comparing models: paired, by groups, corrected for their number, and 0 for a model against itself."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.evaluation import comparison
from retune.evaluation.binary_metrics import METRICS, BinaryAnswers
from retune.evaluation.comparison import holm, resamples_for
from retune.evaluation.kinds import pair
from retune.evaluation.kinds.pair import constant_baseline, disagreements
from retune.params import Params

SPEC = Params(bootstrap=200, confidence=0.95, seed=0)


def compare(models, groups, spec):
    return comparison.compare(pair, models, groups, spec)


def model(seed, strength, n=400):
    labels = (np.random.default_rng(99).random(n) < 0.3).astype(int)
    generator = np.random.default_rng(seed)
    probabilities = 1 / (1 + np.exp(-strength * (labels - 0.5) - generator.normal(size=n)))
    return BinaryAnswers(labels, (probabilities >= 0.5).astype(int), probabilities)


def test_a_model_does_not_differ_from_itself():
    result = compare({"a": model(0, 1.0), "b": model(0, 1.0)}, np.arange(400) // 2, SPEC)
    (found,) = result["pairs"]
    for name in METRICS:
        same = {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "at_most": False, "p_uncorrected": 1.0}
        assert found["metrics"][name] == same
    assert found["wins"] == {"only_a": 0, "only_b": 0}
    assert found["agreement"] == 1.0


def test_a_better_model_is_shown_to_be_better():
    result = compare({"good": model(0, 4.0), "poor": model(1, 0.5)}, np.arange(400), SPEC)
    (found,) = result["pairs"]
    assert (found["a"], found["b"]) == ("good", "poor")
    for name in ("f1", "accuracy", "auc"):
        entry = found["metrics"][name]
        assert 0 < entry["low"] < entry["difference"] < entry["high"]
        assert entry["p"] < 0.05
    assert found["metrics"]["brier"]["high"] < 0
    assert found["wins"]["only_a"] > found["wins"]["only_b"]
    assert found["metrics"]["auc"]["p"] == 1 / 201
    assert found["metrics"]["auc"]["at_most"], "no random swap gave so large a difference"
    assert result["over_ignorant"]["good"]["accuracy"]["low"] > 0


def test_the_difference_of_two_models_is_the_same_from_either_side():
    models = {"a": model(0, 2.0), "b": model(1, 1.0)}
    forth = compare(models, np.arange(400) // 3, SPEC)["pairs"][0]["metrics"]
    back = compare(dict(reversed(models.items())), np.arange(400) // 3, SPEC)["pairs"][0]["metrics"]
    for name in METRICS:
        assert forth[name]["difference"] == -back[name]["difference"]
        assert (forth[name]["low"], forth[name]["high"]) == pytest.approx(
            (-back[name]["high"], -back[name]["low"]), abs=1e-12
        )
        assert forth[name]["p"] == back[name]["p"]


def test_pairing_makes_the_interval_of_similar_models_narrow():
    first = model(0, 2.0)
    decisions = first.decisions.copy()
    decisions[:4] = 1 - decisions[:4]
    result = compare({"a": first, "b": first._replace(decisions=decisions)}, np.arange(400), SPEC)
    found = result["pairs"][0]["metrics"]["accuracy"]
    single = result["ignorant"]["accuracy"]
    assert found["high"] - found["low"] < (single["high"] - single["low"]) / 3


def test_every_pair_is_compared_once_in_the_given_order():
    result = compare({name: model(i, 1.0) for i, name in enumerate("abc")}, np.arange(400), SPEC)
    assert [(pair["a"], pair["b"]) for pair in result["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert result["models"] == ["a", "b", "c"]
    assert "3 pairs" in result["correction"]
    for name in METRICS:
        plain = [pair["metrics"][name]["p_uncorrected"] for pair in result["pairs"]]
        assert [pair["metrics"][name]["p"] for pair in result["pairs"]] == holm(plain)


def test_one_model_has_nothing_to_be_compared_with_but_the_majority():
    result = compare({"a": model(0, 1.0)}, np.arange(400), SPEC)
    assert result["pairs"] == []
    assert list(result["over_ignorant"]) == ["a"]


def test_the_majority_class_is_a_model_that_knows_the_share_only():
    labels = np.array([0, 0, 0, 1])
    assert constant_baseline(BinaryAnswers(labels, labels, labels)).decisions.tolist() == [0, 0, 0, 0]
    assert constant_baseline(BinaryAnswers(1 - labels, labels, labels)).decisions.tolist() == [1, 1, 1, 1]
    majority = compare({"a": BinaryAnswers(labels, labels, labels * 0.8)}, np.arange(4), SPEC)["ignorant"]
    assert {name: majority[name]["value"] for name in ("accuracy", "f1", "auc", "brier", "calibration_error")} == {
        "accuracy": 0.75, "f1": 0.0, "auc": 0.5, "brier": 0.75 * 0.25, "calibration_error": 0.0,
    }  # fmt: skip


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_holm_is_between_the_plain_p_and_bonferroni_and_keeps_the_order(p):
    corrected = holm(p)
    assert all(a <= b <= min(1.0, len(p) * a) for a, b in zip(p, corrected, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


@pytest.mark.parametrize("models", [1, 2, 4, 8, 20])
def test_a_corrected_p_can_always_become_small(models):
    times, pairs = resamples_for(models, 1000, 0.95), models * (models - 1) // 2
    assert times >= 1000
    assert max(pairs, models) / (times + 1) < 0.03
    assert resamples_for(4, 1000, 0.95) == 1000


def test_rows_on_which_models_differ_are_listed_most_disputed_first():
    rows = pl.DataFrame({"id": list("abcd"), "text_a": list("wxyz"), "text_b": list("wxyz"), "label": [0, 1, 0, 1]})
    labels = rows["label"].to_numpy()
    first = BinaryAnswers(labels, np.array([0, 1, 1, 1]), np.array([0.1, 0.6, 0.9, 0.8]))
    second = BinaryAnswers(labels, np.array([0, 0, 0, 1]), np.array([0.2, 0.4, 0.1, 0.9]))
    third = BinaryAnswers(labels, np.array([0, 1, 0, 0]), np.array([0.2, 0.5, 0.3, 0.0]))
    seen = {"m": pl.Series([True] * 4), "n": pl.Series([True] * 4), "o": pl.Series([True, True, True, False])}
    joined = {name: rows.with_columns(parsed=parsed) for name, parsed in seen.items()}
    table = disagreements(joined, {"m": first, "n": second, "o": third})
    assert table["id"].to_list() == ["d", "c", "b"]
    assert table.columns[4:] == ["m.prob_1", "m.decision", "n.prob_1", "n.decision", "o.prob_1", "o.decision"]
    assert table.row(0)[4:] == (0.8, 1, 0.9, 1, None, None)
