"""The estimate of how many labels are wrong, against a slow count and against noise that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.doubts import confident_learning


def slow_joint(codes: list[int], probabilities: list[list[float]]) -> list[list[float]]:
    """The definition, row by row (Northcutt et al., equations 1 to 3)."""
    labels, rows = range(len(probabilities[0])), range(len(codes))
    own = {j: [probabilities[i][j] for i in rows if codes[i] == j] for j in labels}
    thresholds = {j: sum(own[j]) / len(own[j]) for j in labels if own[j]}
    counts = [[0.0 for _ in labels] for _ in labels]
    for i in rows:
        sure = [j for j in labels if j in thresholds and probabilities[i][j] >= thresholds[j] - 1e-12]
        if sure:
            counts[codes[i]][max(sure, key=lambda j: (probabilities[i][j], -j))] += 1
    joint = []
    for j in labels:
        if not sum(counts[j]):
            counts[j][j] = 1
        joint.append([count / sum(counts[j]) * codes.count(j) / len(codes) for count in counts[j]])
    return joint


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 4), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_the_joint_is_that_of_the_definition(labels, rows, seed):
    random = np.random.default_rng(seed)
    codes, probabilities = random.integers(0, labels, rows), random.dirichlet(np.ones(labels), rows)
    found = confident_learning.confident_joint(codes, probabilities)
    assert found == pytest.approx(np.array(slow_joint(codes.tolist(), probabilities.tolist())), abs=1e-12)
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("flipped", [0, 30, 100])
def test_of_sure_and_right_models_the_estimate_is_the_number_of_flipped_labels(flipped):
    true = np.arange(1000) % 3
    given_labels = np.where(np.arange(1000) < flipped, (true + 1) % 3, true)
    sure = np.where(np.eye(3)[true] == 1, 0.9, 0.05)
    assert confident_learning.expected_wrong(given_labels, sure) == pytest.approx(flipped, abs=1)


def test_surety_is_little_only_where_all_models_agree_that_the_label_is_wrong():
    one = np.array([[0.99, 0.01], [0.99, 0.01], [0.01, 0.99]])
    other = np.array([[0.98, 0.02], [0.02, 0.98], [0.02, 0.98]])
    found = confident_learning.surety(np.array([1, 1, 1]), [one, other])
    assert found.argsort().tolist() == [0, 1, 2]
    assert found[1] == pytest.approx((0.01 * 0.98) ** 0.5)
    assert confident_learning.surety(np.array([1]), [np.array([[1.0, 0.0]])])[0] == pytest.approx(
        confident_learning.FLOOR
    )
