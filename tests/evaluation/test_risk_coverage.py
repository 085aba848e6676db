"""Errors at every coverage: against slow loops, of weights and resamples alike."""

import numpy as np
import polars as pl
import pytest

from retune.evaluation import risk_coverage
from retune.evaluation.abstention import SILENT, Decisions
from retune.evaluation.risk_coverage import Kept
from retune.params import Params

SPEC = Params(labels=["0", "1"], bootstrap=200, confidence=0.95, seed=0)


def example(count=60, seed=0):
    random = np.random.default_rng(seed)
    sure = np.round(random.random(count), 1)  # many rows are equally sure
    sure[:5] = SILENT
    wrong = (random.random(count) > sure).astype(np.int64)
    return Kept(sure, wrong, (sure >= 0.5).astype(np.int64), (sure < 0.2).astype(np.int64))


def slow(given, weights):
    """Every metric by its words, with rows repeated as often as they weigh."""
    rows = np.repeat(np.arange(len(weights)), weights.astype(int))
    sure, wrong, answered, none = (column[rows] for column in given)
    as_sure = [wrong[sure >= one].mean() for one in sure]
    return {
        "coverage": answered.mean(), "error": wrong[answered == 1].mean(), "error_of_all": wrong.mean(),
        "aurc": np.mean(as_sure), "none_of_these": none.mean(),
    }  # fmt: skip


def test_metrics_are_those_of_a_slow_loop():
    given = example()
    weights = np.random.default_rng(1).integers(0, 3, size=(4, 60)).astype(float)
    weights[0] = 1
    found = risk_coverage.measure(given, weights)
    for place, one in enumerate(weights):
        assert {name: values[place] for name, values in found.items()} == pytest.approx(slow(given, one), abs=1e-12)


def test_the_curve_is_the_error_of_the_surest_rows():
    given = example()
    weights = np.random.default_rng(1).integers(0, 3, size=(4, 60)).astype(float)
    found = risk_coverage.curve_points(given, weights)
    for place, one in enumerate(weights):
        for share in risk_coverage.POINTS:
            levels = sorted(set(given.confidences), reverse=True)
            at = next(c for c in levels if one[given.confidences >= c].sum() >= share * one.sum() - 1e-6)
            kept = given.confidences >= at
            expected = (one * given.wrong)[kept].sum() / one[kept].sum()
            assert found[f"{share:g}"][place] == pytest.approx(expected, abs=1e-12)
    whole = risk_coverage.curve_points(given, np.ones(60))
    assert whole["1"] == pytest.approx(given.wrong.mean())


def test_confidence_that_says_nothing_has_the_plain_error_as_area():
    given = Kept(np.full(50, 0.7), np.arange(50) % 2, np.ones(50, np.int64), np.zeros(50, np.int64))
    assert risk_coverage.measure(given, np.ones(50))["aurc"] == pytest.approx(0.5)


def test_a_model_that_answers_nothing_has_no_error():
    given = risk_coverage.kept(Decisions(*example()[:2], np.arange(60)), {"abstain_below": 2.0})
    found = risk_coverage.metrics(given, np.arange(60), SPEC)
    assert found["coverage"]["value"] == 0
    assert found["error"]["value"] is None


def test_what_is_written_has_intervals_and_nothing_without_the_key(tmp_path):
    (tmp_path / "plots").mkdir()
    random = np.random.default_rng(0)
    second = random.random(100)
    joined = pl.DataFrame(
        {"group": [f"g{i // 4}" for i in range(100)], "label": (random.random(100) < second).astype(int)}
    ).with_columns(prob_0=1 - second, prob_1=second, parsed=True)
    fitted = {"temperature": 1.0, "threshold": 0.5}
    assert risk_coverage.write(tmp_path, joined, fitted, SPEC) == {}
    assert list((tmp_path / "plots").iterdir()) == []
    found = risk_coverage.write(tmp_path, joined, fitted | {"abstain_below": 0.7}, SPEC)["abstention"]
    assert found["error"]["low"] < found["error"]["value"] < found["error_of_all"]["value"]
    assert "none_of_these" not in found
    table = pl.read_csv(tmp_path / "plots/risk_coverage.csv")
    assert table["y"][-1] == pytest.approx(found["error_of_all"]["value"])
    assert table.filter(pl.col("low") > pl.col("high")).is_empty()
