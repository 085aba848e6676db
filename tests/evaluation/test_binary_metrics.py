"""The metrics agree with scikit-learn and with slow references, for one weighting and for a matrix of resamples."""

import math
import statistics
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.evaluation import binary_metrics as metrics
from retune.evaluation.binary_metrics import METRICS, BinaryAnswers, measure
from retune.evaluation.calibration_error import bin_index, squared

BY_DECISION = ("accuracy", "precision", "recall", "f1", "macro_f1")
BY_PROBABILITY = ("auc", "average_precision", "brier", "calibration_error", "nll")


def answered(name, labels, decisions, probabilities, weights):
    given = decisions if name in BY_DECISION else probabilities
    if name == "calibration_error":
        return squared(np.asarray(labels), np.asarray(given), None, np.asarray(weights, dtype=float))
    return getattr(metrics, name)(np.asarray(labels), np.asarray(given), np.asarray(weights, dtype=float))


def slow(name, labels, decisions, probabilities, weights):
    """The definition of a metric, row by row."""
    rows = [(y, d, p, w) for y, d, p, w in zip(labels, decisions, probabilities, weights, strict=True) if w > 0]
    total = math.fsum(w for *_, w in rows)
    weight = {(a, b): math.fsum(w for y, d, _, w in rows if (y, d) == (a, b)) for a in (0, 1) for b in (0, 1)}
    positives, negatives = weight[1, 0] + weight[1, 1], weight[0, 0] + weight[0, 1]

    def f1(label):
        gold, decided = sum(weight[label, b] for b in (0, 1)), sum(weight[a, label] for a in (0, 1))
        return 2 * weight[label, label] / (gold + decided) if gold else math.nan

    if not total:
        return math.nan
    if name == "accuracy":
        return (weight[0, 0] + weight[1, 1]) / total
    if name == "precision":
        decided = weight[0, 1] + weight[1, 1]
        return weight[1, 1] / decided if decided else 0.0
    if name == "recall":
        return weight[1, 1] / positives if positives else math.nan
    if name == "f1":
        return f1(1)
    if name == "macro_f1":
        return (f1(0) + f1(1)) / 2
    if name == "auc":
        wins = math.fsum(
            w * v * ((p > q) + (p == q) / 2) for y, _, p, w in rows if y == 1 for z, _, q, v in rows if z == 0
        )
        return wins / (positives * negatives) if positives * negatives else math.nan
    if name == "average_precision":
        gains = []
        for score in {p for *_, p, _ in rows}:
            above = [(y, w) for y, _, p, w in rows if p >= score]
            precision = math.fsum(w for y, w in above if y) / math.fsum(w for _, w in above)
            gains.append(precision * math.fsum(w for y, _, p, w in rows if y and p == score))
        return math.fsum(gains) / positives if positives else math.nan
    if name == "brier":
        return math.fsum(w * (p - y) ** 2 for y, _, p, w in rows) / total
    if name == "nll":
        return math.fsum(-w * math.log(max(1e-15, p if y else 1 - p)) for y, _, p, w in rows) / total
    bins = [[(y, p, w) for y, _, p, w in rows if i / 15 < p <= (i + 1) / 15 or (i == 0 and p == 0)] for i in range(15)]
    copies = [[p - y for y, p, w in rows_of for _ in range(int(w))] for rows_of in bins]
    kept = [gaps for gaps in copies if len(gaps) > 1]
    squares = [len(gaps) * (statistics.mean(gaps) ** 2 - statistics.variance(gaps) / len(gaps)) for gaps in kept]
    return math.fsum(squares) / total


def example(n, seed, ties=False):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(int)
    probabilities = 1 / (1 + np.exp(-(labels - 0.5) - generator.normal(size=n)))
    probabilities = probabilities.round(1).clip(0.1, 0.9) if ties else probabilities
    return labels, (probabilities >= 0.4).astype(int), probabilities, generator.integers(0, 4, n).astype(float)


SCORES = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.25, 0.123]), st.floats(0, 1))
ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), SCORES, st.integers(0, 3)), min_size=1, max_size=25)


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_DECISION + BY_PROBABILITY)
@given(rows=ROWS)
@settings(max_examples=120, deadline=None)
def test_a_metric_is_what_its_definition_says(name, rows):
    labels, decisions, probabilities, weights = map(list, zip(*rows, strict=True))
    # A probability on the edge of a bin falls to the side that rounding takes; the reference rounds otherwise.
    probabilities = [
        p + (1e-9 if p < 0.5 else -1e-9) if abs(p * 15 - round(p * 15)) < 1e-9 and 0 < p < 1 else p
        for p in probabilities
    ]
    found = answered(name, labels, decisions, probabilities, weights)
    assert float(found) == pytest.approx(slow(name, labels, decisions, probabilities, weights), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("ties", [False, True])
def test_the_metrics_agree_with_scikit_learn(ties):
    from sklearn import metrics as reference

    labels, decisions, probabilities, weights = example(800, 1, ties)
    more = {"sample_weight": weights}
    wanted = {
        "accuracy": reference.accuracy_score(labels, decisions, **more),
        "precision": reference.precision_score(labels, decisions, **more),
        "recall": reference.recall_score(labels, decisions, **more),
        "f1": reference.f1_score(labels, decisions, **more),
        "macro_f1": reference.f1_score(labels, decisions, average="macro", **more),
        "auc": reference.roc_auc_score(labels, probabilities, **more),
        "average_precision": reference.average_precision_score(labels, probabilities, **more),
        "brier": reference.brier_score_loss(labels, probabilities, **more),
        "nll": reference.log_loss(labels, probabilities, **more),
    }
    for name, value in wanted.items():
        assert float(answered(name, labels, decisions, probabilities, weights)) == pytest.approx(value, abs=1e-12), name


def test_the_calibration_error_uses_the_bins_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    labels, decisions, probabilities, _ = example(800, 2)
    observed, predicted = calibration_curve(labels, probabilities, n_bins=15, strategy="uniform")
    rows = np.bincount(bin_index(probabilities), minlength=15)
    gaps = (probabilities - labels)[:, None] * (bin_index(probabilities)[:, None] == np.flatnonzero(rows))
    noise = [np.var(gaps[gaps[:, k] != 0, k], ddof=1) for k in range(gaps.shape[1])]
    wanted = ((observed - predicted) ** 2 @ rows[rows > 0] - np.sum(noise)) / len(labels)
    found = answered("calibration_error", labels, decisions, probabilities, np.ones(800))
    assert float(found) == pytest.approx(wanted, abs=1e-12)


@given(rows=ROWS, seed=st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_a_matrix_of_resamples_gives_the_metric_of_each(rows, seed):
    labels, decisions, probabilities, _ = (np.array(column) for column in zip(*rows, strict=True))
    answers = BinaryAnswers(labels, decisions, probabilities)
    weights = np.random.default_rng(seed).integers(0, 4, (2, 3, len(rows))).astype(float)
    together = measure(answers, weights)
    assert list(together) == list(METRICS)
    for name in METRICS:
        assert together[name].shape == (2, 3)
        for index in np.ndindex(2, 3):
            if name == "calibration_error":  # the reference rounds the edges of the bins otherwise
                alone = float(answered(name, labels, decisions, probabilities, weights[index]))
            else:
                alone = slow(name, labels, decisions, probabilities, weights[index])
            assert together[name][index] == pytest.approx(alone, abs=1e-12, nan_ok=True), name


@given(rows=ROWS)
@settings(max_examples=60, deadline=None)
def test_weights_are_repetitions_of_rows(rows):
    labels, decisions, probabilities, weights = (np.array(column) for column in zip(*rows, strict=True))
    if not weights.sum():
        return
    repeated = BinaryAnswers(*(np.repeat(column, weights) for column in (labels, decisions, probabilities)))
    plain = measure(repeated, np.ones(len(repeated.labels)))
    weighted = measure(BinaryAnswers(labels, decisions, probabilities), weights.astype(float))
    for name in METRICS:
        assert float(weighted[name]) == pytest.approx(float(plain[name]), abs=1e-12, nan_ok=True), name


@given(rows=ROWS, power=st.sampled_from([1 / 3, 1 / 2, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_a_monotone_change_of_the_scores_keeps_auc_and_average_precision(rows, power):
    labels, decisions, probabilities, weights = map(list, zip(*rows, strict=True))
    levels = sorted(set(probabilities))
    ranks = [(levels.index(p) / len(levels)) ** power for p in probabilities]
    for name in ("auc", "average_precision"):
        before = float(answered(name, labels, decisions, probabilities, weights))
        assert float(answered(name, labels, decisions, ranks, weights)) == pytest.approx(before, abs=1e-12, nan_ok=True)


def test_the_order_of_the_rows_does_not_matter():
    labels, decisions, probabilities, weights = example(300, 3, ties=True)
    shuffled = np.random.default_rng(0).permutation(300)
    first = measure(BinaryAnswers(labels, decisions, probabilities), weights)
    second = measure(BinaryAnswers(labels, decisions, probabilities).take(shuffled), weights[shuffled])
    for name in METRICS:
        assert float(first[name]) == pytest.approx(float(second[name]), abs=1e-12), name


def test_a_metric_without_meaning_is_nan_and_nothing_warns():
    labels, decisions, probabilities, _ = example(50, 4)
    weights = np.stack([labels, 1 - labels, 0 * labels]).astype(float)  # positives only, negatives only, nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(BinaryAnswers(labels, decisions, probabilities), weights)
    undefined = {name: np.isnan(values).tolist() for name, values in found.items()}
    assert undefined == {
        "f1": [False, True, True],
        "accuracy": [False, False, True],
        "macro_f1": [True, True, True],
        "precision": [False, False, True],
        "recall": [False, True, True],
        "auc": [True, True, True],
        "average_precision": [False, True, True],
        "brier": [False, False, True],
        "calibration_error": [False, False, True],
    }


def test_a_model_that_never_says_yes_has_precision_and_f1_of_zero():
    labels = np.array([0, 1, 0, 1])
    found = measure(BinaryAnswers(labels, np.zeros(4, dtype=int), np.full(4, 0.1)), np.ones(4))
    assert [float(found[name]) for name in ("precision", "recall", "f1", "auc")] == [0.0, 0.0, 0.0, 0.5]


def test_the_upper_edge_belongs_to_a_bin():
    assert bin_index(np.linspace(0, 1, 16)).tolist() == [0, *range(15)]
