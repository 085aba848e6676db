"""What a student's losses are, against formulas written out in float64, and that the parts of a batch add up to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from retune.encoders import losses
from retune.encoders.distillation import margin_mse, softened_kl, taught
from retune.encoders.objective import objective
from retune.params import Params

LOSS = Params(name="cross_entropy", gamma=2.0, class_weights="none", label_smoothing=0.0, r_drop=0.0,
              adversarial="none")  # fmt: skip


def batch(rows: int = 7, classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels (two rows have none), the teacher's probabilities (one row has none)."""
    random = np.random.default_rng(seed)
    labels = torch.tensor(random.integers(0, classes, rows))
    labels[[1, 4]] = -1
    lessons = torch.tensor(random.dirichlet(np.ones(classes), rows))
    lessons[2] = torch.nan
    return torch.tensor(random.normal(0, 2, (rows, classes))), labels, lessons


def by_hand(logits, labels, lessons, weight: float, temperature: float) -> float:
    """The mean over all rows of (1 - w) * cross-entropy + w * T^2 * KL, with loops and math.log."""
    total = 0.0
    for z, y, q in zip(logits.tolist(), labels.tolist(), lessons.tolist(), strict=True):
        if y >= 0:
            total += (1 - weight) * (math.log(sum(math.exp(one) for one in z)) - z[y])
        if not math.isnan(q[0]):
            soft = [one ** (1 / temperature) for one in q]
            soft = [one / sum(soft) for one in soft]
            p = [math.exp(one / temperature) for one in z]
            p = [one / sum(p) for one in p]
            total += weight * temperature**2 * sum(a * math.log(a / b) for a, b in zip(soft, p, strict=True))
    return total / len(logits)


def gold(logits, labels, whole):
    return losses.cross_entropy(logits, labels, whole=whole)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_what_the_formula_says(weight, temperature):
    logits, labels, lessons = batch()
    found = taught(gold, logits, labels, labels, lessons, Params(weight=weight, temperature=temperature))
    assert float(found) == pytest.approx(by_hand(logits, labels, lessons, weight, temperature), rel=1e-5)


def test_weight_0_is_the_loss_without_a_teacher():
    logits, labels, lessons = batch()
    labels = labels.clamp(min=0)
    plain = objective(LOSS, labels.tolist(), 4, torch.nn.Identity(), torch.device("cpu"))
    nobody = objective(
        LOSS, labels.tolist(), 4, torch.nn.Identity(), torch.device("cpu"), Params(weight=0.0, temperature=2.0)
    )
    assert float(nobody(lambda: logits, labels, labels, lessons)) == float(plain(lambda: logits, labels))


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_parts_of_a_batch_add_up_to_its_loss(weights):
    logits, labels, lessons = batch(rows=9)
    loss = objective(
        Params(LOSS | {"class_weights": weights}), labels[labels >= 0].tolist(), 4, torch.nn.Identity(),
        torch.device("cpu"), Params(weight=0.4, temperature=2.0),
    )  # fmt: skip
    whole = float(loss(lambda: logits, labels, labels, lessons))
    parts = [slice(0, 2), slice(2, 3), slice(3, 9)]
    assert sum(
        float(loss(lambda part=part: logits[part], labels[part], labels, lessons[part])) for part in parts
    ) == pytest.approx(whole, rel=1e-6)


def test_a_teacher_that_the_student_equals_costs_nothing_and_large_logits_stay_finite():
    logits = torch.tensor([[0.0, 1.0, 2.0], [500.0, -500.0, 0.0]])
    assert softened_kl(logits, logits.softmax(-1), 4.0)[0].item() == pytest.approx(0, abs=1e-6)
    wrong = softened_kl(logits, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 1.0)
    assert torch.isfinite(wrong).all()
    assert wrong[1] > 900


def test_the_gradient_keeps_its_size_whatever_the_temperature_is():
    """Hinton et al. 2015: for T above the logits the gradient of T^2 * KL is about (z - v) / classes, centred."""
    student = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64)
    softened_kl(student, teacher, 50.0).sum().backward()
    logs = teacher.log()
    expected = ((student - student.mean()) - (logs - logs.mean())).detach() / 3
    torch.testing.assert_close(student.grad, expected, rtol=0.05, atol=1e-3)


def test_margins_are_those_of_the_pairs_of_each_query():
    random = np.random.default_rng(3)
    scores, lessons = random.normal(size=8), random.uniform(size=8)
    queries = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    lessons[[4, 6]] = np.nan
    costs = [
        ((scores[i] - scores[j]) - (lessons[i] - lessons[j])) ** 2
        for i in range(8)
        for j in range(i)
        if queries[i] == queries[j] and not np.isnan(lessons[i] + lessons[j])
    ]
    tensors = torch.tensor(scores, requires_grad=True), torch.tensor(lessons), torch.tensor(queries)
    found = margin_mse(*tensors)
    assert found.item() == pytest.approx(np.mean(costs))
    found.backward()
    assert torch.isfinite(tensors[0].grad).all()
    assert margin_mse(tensors[0], torch.full((8,), torch.nan), tensors[2]).item() == 0
