"""The calibration error: free of the bias of few rows, by groups, and in its interval."""

import numpy as np
import pytest

from retune.evaluation.binary_metrics import BinaryAnswers
from retune.evaluation.calibration_error import root, squared
from retune.evaluation.intervals import metrics_with_intervals
from retune.evaluation.kinds.pair import MEASURE
from retune.params import Params

SPEC = Params(bootstrap=200, confidence=0.95, seed=0)


def drawn(random, groups, rows, sharpened=1.0):
    """Groups of rows that share a part of their chance; `sharpened` probabilities are too near to 0 and 1."""
    of = np.repeat(np.arange(groups), rows)
    odds, chance = random.normal(size=len(of)), np.repeat(random.random(groups), rows)
    chance = np.where(random.random(len(of)) < 0.3, chance, random.random(len(of)))
    labels = (chance < 1 / (1 + np.exp(-odds))).astype(int)
    return labels, 1 / (1 + np.exp(-sharpened * odds)), of


def slow(labels, probabilities, of):
    """Bin by bin and group by group, in loops."""
    result = 0.0
    for k in range(15):
        inside = [i for i, p in enumerate(probabilities) if k / 15 < p <= (k + 1) / 15]
        groups = sorted({of[i] for i in inside})
        if len(groups) < 2:
            continue
        gap = sum(probabilities[i] - labels[i] for i in inside) / len(inside)
        spread = sum(sum(probabilities[i] - labels[i] - gap for i in inside if of[i] == g) ** 2 for g in groups)
        variance = spread / len(inside) ** 2 * len(groups) / (len(groups) - 1)
        result += len(inside) / len(labels) * (gap**2 - variance)
    return result


@pytest.mark.parametrize(("groups", "rows"), [(9, 12), (150, 1)])
def test_it_is_the_squared_gaps_without_their_variance_by_groups(groups, rows):
    labels, probabilities, of = drawn(np.random.default_rng(0), groups, rows, 1.5)
    found = squared(labels, probabilities, of, np.ones(len(of)))
    assert float(found) == pytest.approx(slow(labels, probabilities, of), abs=1e-12)
    shuffled = np.random.default_rng(1).permutation(len(of))
    again = squared(labels[shuffled], probabilities[shuffled], of[shuffled], np.ones(len(of)))
    assert float(again) == pytest.approx(float(found), abs=1e-12)


def test_a_perfect_model_has_none_on_average_where_the_plain_error_has_some():
    random = np.random.default_rng(0)
    sets = [drawn(random, 12, 20) for _ in range(300)]
    squares = np.array([float(squared(labels, p, of, np.ones(len(of)))) for labels, p, of in sets])
    by_rows = np.array([float(squared(labels, p, None, np.ones(len(of)))) for labels, p, of in sets])
    assert abs(squares.mean()) < 4 * squares.std() / np.sqrt(300)
    assert by_rows.mean() > 3 * abs(squares.mean()), "rows of a group are no independent witnesses"
    assert float(root(np.array(-0.01))) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("sharpened", [1.0, 2.0])
def test_its_interval_holds_the_truth(sharpened):
    """Of 150 test sets; the interval of the plain error holds the truth in hardly any where the model is perfect."""
    labels, probabilities, of = drawn(np.random.default_rng(5), 4000, 20, sharpened)
    truth = 0.0 if sharpened == 1 else float(root(squared(labels, probabilities, of, np.ones(len(of)))))
    random, held = np.random.default_rng(6), 0
    for _ in range(150):
        labels, probabilities, of = drawn(random, 15, 20, sharpened)
        given = BinaryAnswers(labels, labels, probabilities, of)
        found = metrics_with_intervals(MEASURE, given, of, SPEC)["calibration_error"]
        held += found["low"] <= truth <= found["high"]
    assert held / 150 > 0.91
