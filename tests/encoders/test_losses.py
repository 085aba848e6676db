"""The losses against slow references in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from retune.encoders import losses


def softmax(row: np.ndarray) -> np.ndarray:
    powers = [math.exp(value - max(row)) for value in row]
    return np.array([power / sum(powers) for power in powers])


def slow(logits, labels, gamma, weights, smoothing) -> float:
    total = norm = 0.0
    for row, label in zip(logits, labels, strict=True):
        p = softmax(row)
        for k in range(len(p)):
            target = (1 - smoothing) * (k == label) + smoothing / len(p)
            total -= weights[label] * target * (1 - p[k]) ** gamma * math.log(p[k])
        norm += weights[label]
    return total / norm


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    return random.normal(size=(20, 2)) * 3, random.integers(0, 2, 20)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [None, [0.4, 2.5]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_is_its_definition(batch, gamma, weights, smoothing):
    logits, labels = batch
    tensor = None if weights is None else torch.tensor(weights)
    got = losses.focal(torch.tensor(logits), torch.tensor(labels), gamma, tensor, smoothing)
    assert got.item() == pytest.approx(slow(logits, labels, gamma, weights or [1, 1], smoothing), rel=1e-5)


def test_cross_entropy_is_that_of_torch(batch):
    logits, labels = torch.tensor(batch[0], dtype=torch.float32), torch.tensor(batch[1])
    weights = torch.tensor([0.4, 2.5])
    want = torch.nn.functional.cross_entropy(logits, labels, weights)
    assert losses.cross_entropy(logits, labels, weights).item() == pytest.approx(want.item(), rel=1e-5)
    smooth = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    assert losses.cross_entropy(logits, labels, smoothing=0.2).item() == pytest.approx(smooth.item(), rel=1e-5)


def test_focal_loss_stays_finite_where_a_logit_is_huge():
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    loss = losses.focal(logits, torch.tensor([0, 0]), gamma=0.5)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_symmetric_kl_is_the_mean_of_both_directions(batch):
    first, second = batch[0], batch[0][::-1].copy()
    want = 0.0
    for a, b in zip(first, second, strict=True):
        p, q = softmax(a), softmax(b)
        want += sum(p * np.log(p / q)) / 2 + sum(q * np.log(q / p)) / 2
    got = losses.symmetric_kl(torch.tensor(first), torch.tensor(second)).item()
    assert got == pytest.approx(want / len(first), rel=1e-4)
    assert losses.symmetric_kl(torch.tensor(first), torch.tensor(first)).item() == 0.0


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 7 + [1] * 3)
    want = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    assert losses.balanced_weights(torch.tensor(labels), 2).tolist() == pytest.approx(want.tolist())
    assert losses.balanced_weights(torch.tensor([0, 0]), 2).tolist() == [0.5, 1.0]
