"""The temperature is the most likely one, the threshold the best there is, and both are the same every time."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from retune.errors import RetuneError
from retune.evaluation.binary_metrics import nll
from retune.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    best_threshold,
    calibrate,
    calibrated,
    fit_temperature,
    log_odds,
)
from retune.evaluation.kinds import pair
from retune.params import Params

SCORES = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.3, 0.30000000000000004]), st.floats(0, 1))
ROWS = st.lists(st.tuples(st.integers(0, 1), SCORES), min_size=1, max_size=20)


def spec(**more):
    return Params(threshold="f1", cost_false_positive=1.0, cost_false_negative=1.0, temperature=True) | more


def section(**more):
    return Params(spec(**more))


def score(rule, labels, probabilities, threshold, costs=(1.0, 1.0)):
    """What a threshold is worth, counted row by row."""
    rows = [(y, p >= threshold) for y, p in zip(labels, probabilities, strict=True)]
    tp, fp, fn, tn = (sum((y, d) == want for y, d in rows) for want in ((1, True), (0, True), (1, False), (0, False)))
    if rule == "f1":
        return 2 * tp / (2 * tp + fp + fn)
    return tp + tn if rule == "accuracy" else -(costs[0] * fp + costs[1] * fn)


def sample(n=4000, seed=0):
    """Rows whose log odds are true."""
    generator = np.random.default_rng(seed)
    odds = generator.normal(-0.5, 2.0, n)
    return (generator.random(n) < 1 / (1 + np.exp(-odds))).astype(int), odds


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["f1", "accuracy", "cost"])
@given(rows=ROWS, costs=st.tuples(st.sampled_from([0.0, 0.1, 1.0, 7.0]), st.sampled_from([0.3, 1.0, 5.0])))
@settings(max_examples=200, deadline=None)
def test_no_threshold_is_better_than_the_chosen_one(rule, rows, costs):
    labels, probabilities = map(list, zip(*rows, strict=True))
    assume(rule != "f1" or any(labels))
    chosen = best_threshold(np.array(labels), np.array(probabilities), rule, *costs)
    every = [0.0, *probabilities, *(math.nextafter(p, 2) for p in probabilities), 2.0]
    best = max(score(rule, labels, probabilities, threshold, costs) for threshold in every)
    assert score(rule, labels, probabilities, chosen, costs) == pytest.approx(best, abs=1e-9)
    assert 0.0 <= chosen <= math.nextafter(1.0, 2.0)


@given(rows=ROWS, seed=st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_the_threshold_does_not_depend_on_the_order_of_the_rows(rows, seed):
    labels, probabilities = (np.array(column) for column in zip(*rows, strict=True))
    assume(labels.any())
    order = np.random.default_rng(seed).permutation(len(rows))
    assert best_threshold(labels, probabilities, "f1") == best_threshold(labels[order], probabilities[order], "f1")


def test_the_threshold_stands_in_the_middle_of_what_is_equally_good():
    labels = np.array([0, 0, 1, 1])
    assert best_threshold(labels, np.array([0.1, 0.2, 0.6, 0.9]), "accuracy") == pytest.approx(0.4)
    # Accuracy 3 of 4 in two gaps that are equally wide: the one nearer to 0.5, or else the lower.
    labels = np.array([0, 1, 0, 1])
    assert best_threshold(labels, np.array([0.0, 0.125, 0.5, 0.625]), "accuracy") == 0.5625
    assert best_threshold(labels, np.array([0.125, 0.25, 0.75, 0.875]), "accuracy") == 0.1875
    # Leaving out 0.5 costs as much as taking it in: (0.2, 0.5] and (0.5, 0.9] are one plateau.
    assert best_threshold(labels, np.array([0.2, 0.5, 0.5, 0.9]), "accuracy") == pytest.approx(0.55)
    # Of separate plateaus the widest: (0.1, 0.2] or (0.3, 0.9].
    assert best_threshold(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.9]), "accuracy") == pytest.approx(0.6)


def test_a_dear_false_positive_raises_the_threshold():
    labels, odds = sample()
    probabilities = calibrated(odds, 1.0)
    cheap, even, dear = (best_threshold(labels, probabilities, "cost", cost, 1.0) for cost in (0.25, 1.0, 4.0))
    # With true probabilities the best threshold is cost_fp / (cost_fp + cost_fn).
    assert (cheap, even, dear) == pytest.approx((0.2, 0.5, 0.8), abs=0.08)


def test_equal_costs_are_the_accuracy():
    labels, odds = sample(500)
    probabilities = calibrated(odds, 1.0)
    assert best_threshold(labels, probabilities, "cost", 2.0, 2.0) == best_threshold(labels, probabilities, "accuracy")


def test_saying_no_to_a_probability_of_one_needs_a_threshold_above_one():
    threshold = best_threshold(np.array([0, 0, 1]), np.array([1.0, 1.0, 1.0]), "accuracy")
    assert threshold > 1.0


@pytest.mark.parametrize("true", [0.2, 0.7, 1.0, 2.5, 10.0])
def test_a_known_temperature_is_recovered(true):
    """Log odds that were multiplied by T need the temperature T."""
    labels, odds = sample(20_000)
    assert fit_temperature(labels, odds * true) == pytest.approx(true, rel=0.05)


@given(seed=st.integers(0, 1000), factor=st.floats(0.2, 5))
@settings(max_examples=30, deadline=None)
def test_no_other_temperature_is_more_likely(seed, factor):
    labels, odds = sample(200, seed)
    fitted = fit_temperature(labels, odds * factor)
    ones = np.ones(200)
    best = float(nll(labels, calibrated(odds * factor, fitted), ones))
    for other in np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 60):
        assert best <= float(nll(labels, calibrated(odds * factor, other), ones)) + 1e-12


def test_the_temperature_agrees_with_an_optimiser():
    from scipy.optimize import minimize_scalar

    labels, odds = sample(1000, 5)

    def loss(log_temperature):
        return np.mean(np.logaddexp(0, np.where(labels == 1, -1, 1) * odds * 3 / np.exp(log_temperature)))

    wanted = float(np.exp(minimize_scalar(loss, bounds=(-3, 4), method="bounded", options={"xatol": 1e-10}).x))
    assert fit_temperature(labels, odds * 3) == pytest.approx(wanted, rel=1e-6)


def test_calibrated_probabilities_are_the_softmax_of_log_p_over_t():
    prob_1 = np.array([0.0, 1e-20, 0.01, 0.5, 0.9, 1.0])
    logs = np.log(np.maximum(np.stack([1 - prob_1, prob_1]), 1e-15)) / 1.7
    wanted = (np.exp(logs) / np.exp(logs).sum(0))[1]
    assert calibrated(log_odds(1 - prob_1, prob_1), 1.7) == pytest.approx(wanted, rel=1e-12)
    assert calibrated(np.array([-1e6, 0.0, 1e6]), 0.05).tolist() == [0.0, 0.5, 1.0]


@given(
    scores=st.lists(st.floats(0, 1), min_size=2, max_size=20), temperature=st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE)
)
@settings(max_examples=60, deadline=None)
def test_a_temperature_never_changes_the_order(scores, temperature):
    prob_1 = np.sort(np.array(scores))
    assert (np.diff(calibrated(log_odds(1 - prob_1, prob_1), temperature)) >= 0).all()


def test_calibration_helps_an_overconfident_model_and_says_by_how_much():
    labels, odds = sample()
    probabilities = calibrated(odds, 0.3)
    found = calibrate(labels, 1 - probabilities, probabilities, section())
    assert found["temperature"] == pytest.approx(1 / 0.3, rel=0.1)
    assert found["after"]["nll"] < found["before"]["nll"]
    assert found["after"]["calibration_error"] < found["before"]["calibration_error"] / 2
    assert found["after"]["f1"] >= found["before"]["f1"]
    assert (found["rows"], found["rule"], found["messages"]) == (4000, "f1", [])


def test_the_temperature_can_be_left_alone():
    labels, odds = sample(300)
    probabilities = calibrated(odds, 0.3)
    found = calibrate(labels, 1 - probabilities, probabilities, section(temperature=False))
    assert found["temperature"] == 1.0
    assert found["threshold"] == best_threshold(
        labels, calibrated(log_odds(1 - probabilities, probabilities), 1.0), "f1"
    )


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1], []])
def test_one_label_is_an_error_with_its_remedy(labels):
    half = np.full(len(labels), 0.5)
    with pytest.raises(RetuneError, match=r"both labels .* raise `split.calibration`"):
        calibrate(np.array(labels, dtype=int), half, half, section())


def test_a_model_that_hardly_answers_is_measured_all_the_same():
    said = [0.2, None, 0.3, None]
    joined = pl.DataFrame({"label": [0, 1, 0, 1], "prob_0": said, "prob_1": said, "group": list("abcd")})
    joined = joined.with_columns(parsed=pl.col("prob_0").is_not_null())
    fitted = pair.calibrate(joined, section())
    assert (fitted["threshold"], fitted["temperature"]) == (0.5, 1.0)
    assert fitted["messages"] == ["Only 2 of 4 calibration rows have an answer: nothing could be fitted to them."]
    json.dumps(fitted, allow_nan=False)
    assert pair.answers(joined, fitted, section(), {}).decisions.tolist() == [1, 0, 1, 0]


def test_a_model_that_tells_nothing_is_calibrated_and_spoken_about():
    labels = np.array([0, 1] * 20 + [0] * 60)
    probabilities = np.full(100, 0.9)
    found = calibrate(labels, 1 - probabilities, probabilities, section())
    assert found["temperature"] == MAX_TEMPERATURE
    assert [message.split(" ")[1] for message in found["messages"]] == ["temperature", "best"]
    assert "answers 1 to every calibration row" in found["messages"][1]
    assert "calibration.threshold: accuracy" in found["messages"][1]


def test_a_threshold_hardly_better_than_one_for_all_is_spoken_about_with_the_key_that_changes_it():
    random = np.random.default_rng(0)
    labels = (random.random(400) < 0.3).astype(int)
    hardly, sound = (1 / (1 + np.exp(-random.normal(0, 1, 400) - gain * labels)) for gain in (0.1, 3.0))
    (said,) = calibrate(labels, 1 - hardly, hardly, section(temperature=False))["messages"]
    assert f"as the answer to every row ({f1_score(labels, np.ones(400)):.3f})" in said
    assert said.endswith("calibration.threshold: accuracy asks for more right answers.")
    assert calibrate(labels, 1 - sound, sound, section(temperature=False))["messages"] == []
    assert calibrate(labels, 1 - hardly, hardly, section(temperature=False, threshold="accuracy"))["messages"] == []


def test_a_perfect_model_does_not_freeze():
    labels = np.array([0, 1] * 20)
    probabilities = np.where(labels == 1, 0.8, 0.3)
    found = calibrate(labels, 1 - probabilities, probabilities, section())
    assert found["temperature"] == MIN_TEMPERATURE
    assert found["after"]["f1"] == 1.0
    assert math.isfinite(found["after"]["nll"])
