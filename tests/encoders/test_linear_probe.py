"""The linear probe separates what a line separates, for two and more labels, and never names a label without a row."""

from __future__ import annotations

import numpy as np
import pytest

from retune.encoders import linear_probe


@pytest.mark.parametrize("classes", [2, 5])
def test_it_separates_clusters_whatever_their_place_and_scale(classes: int) -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(classes, 6)) * 4
    codes = random.integers(0, classes, 200)
    features = (centres[codes] + random.normal(size=(200, 6))) * [1e-3, 1, 10, 1, 1, 100] + 50
    weight, bias, penalty = linear_probe.fit(features[:150], codes[:150], features[150:], codes[150:], classes, False)
    assert weight.shape == (classes, 6)
    assert bias.shape == (classes,)
    assert penalty in linear_probe.PENALTIES
    assert ((features[150:] @ weight.T + bias).argmax(1) == codes[150:]).mean() > 0.95


@pytest.mark.parametrize("present", [[0, 2], [0, 1, 3]])
def test_a_label_without_a_training_row_is_never_the_likeliest(present: list[int]) -> None:
    random = np.random.default_rng(1)
    codes = random.choice(present, 60)
    features = random.normal(size=(60, 4)) + codes[:, None]
    dev = random.choice(4, 20)
    weight, bias, _ = linear_probe.fit(features, codes, features[:20], dev, 4, True)
    assert set((features @ weight.T + bias).argmax(1)) <= set(present)


def test_one_label_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="class"):
        linear_probe.fit(np.ones((4, 2)), np.zeros(4, int), np.ones((2, 2)), np.zeros(2, int), 3, False)
