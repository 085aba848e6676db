"""The head in pieces gives the loss, gradients and log-probabilities of the whole, and never holds more logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from retune.llm.packing import output_head
from retune.llm.packing.output_head import Head

POSITIONS = torch.tensor([0, 0, 1, 3, 3, 3, 4])
TARGETS = torch.tensor([5, 6, 0, 10, 10, 2, 7])
WEIGHTS = torch.tensor([1.0, 0.5, 2.0, 0.25, 0.25, 1.0, 0.0])
VOCABULARY = 11


def tensors(bias: bool, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = [(5, 4), (VOCABULARY, 4), (VOCABULARY,)]
    made = [torch.randn(shape, generator=random, dtype=dtype).requires_grad_() for shape in shapes]
    return made if bias else made[:2]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_loss_and_gradients_equal_those_of_all_logits_at_once(
    rows: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_head, "PACKED_ROWS", 4)  # three slices of the vocabulary
    monkeypatch.setattr(output_head, "CACHED_ROWS", 2)
    hidden, weight, offset = (*tensors(bias), None)[:3]
    limit = rows * 4 * VOCABULARY
    found = output_head.loss(hidden, Head(weight, offset), POSITIONS, TARGETS, WEIGHTS, limit)
    each = F.cross_entropy(F.linear(hidden, weight, offset)[POSITIONS], TARGETS, reduction="none")
    expected = (each * WEIGHTS).sum()
    assert torch.allclose(found, expected)
    leaves = [tensor for tensor in (hidden, weight, offset) if tensor is not None]
    gradients = [torch.autograd.grad(3 * value, leaves) for value in (found, expected)]
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))
    logs = output_head.log_probs(hidden, Head(weight, offset), POSITIONS, TARGETS, limit)
    assert torch.allclose(logs, -each)


@pytest.mark.parametrize("bias", [True, False])
def test_logits_of_targets_are_those_of_the_whole_head_in_full_precision(bias: bool) -> None:
    hidden, weight, offset = (*tensors(bias, torch.float32), None)[:3]
    wanted = F.linear(hidden, weight, offset)[POSITIONS, TARGETS]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = output_head.logits(hidden, Head(weight, offset), POSITIONS, TARGETS)
    assert found.dtype == torch.float32
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_piece_of_logits_stays_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    linear = F.linear

    def watched(*arguments: Any) -> torch.Tensor:
        out = linear(*arguments)
        sizes.append(out.numel() * 4)
        return out

    monkeypatch.setattr(output_head.F, "linear", watched)
    hidden, weight = tensors(False, torch.float32)
    output_head.loss(hidden, Head(weight, None), POSITIONS, TARGETS, WEIGHTS, 2 * 4 * VOCABULARY).backward()
    assert sizes == [2 * 4 * VOCABULARY, 2 * 4 * VOCABULARY, 4 * VOCABULARY]


def test_log_probabilities_read_a_slice_for_as_many_rows_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    linear = F.linear

    def watched(*arguments: Any) -> torch.Tensor:
        out = linear(*arguments)
        shapes.append(tuple(out.shape))
        return out

    monkeypatch.setattr(output_head.F, "linear", watched)
    monkeypatch.setattr(output_head, "PACKED_ROWS", 4)
    hidden, weight = tensors(False, torch.float32)
    output_head.log_probs(hidden, Head(weight, None), POSITIONS, TARGETS, 3 * 4 * 4)
    assert shapes == [(3, 4), (3, 4), (3, 3), (2, 4), (2, 4), (2, 3)]


def test_a_head_in_slices_gives_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, offset = tensors(True)
    whole = output_head.loss(hidden, Head(weight, offset), POSITIONS, TARGETS, WEIGHTS)
    logs = output_head.log_probs(hidden, Head(weight, offset), POSITIONS, TARGETS)
    monkeypatch.setattr(output_head, "PACKED_ROWS", 4)
    assert torch.allclose(output_head.log_probs(hidden, Head(weight, offset), POSITIONS, TARGETS), logs)
    sliced = output_head.loss(hidden, Head(weight, offset), POSITIONS, TARGETS, WEIGHTS)
    assert torch.allclose(sliced, whole)
    gradients = [torch.autograd.grad(value, (hidden, weight, offset)) for value in (sliced, whole)]
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


def test_a_frozen_head_gets_no_gradient_and_no_targets_no_loss() -> None:
    hidden, weight = tensors(False)
    none = torch.zeros(0, dtype=torch.long)
    assert output_head.log_probs(hidden[:0], Head(weight, None), none, none).shape == (0,)
    frozen = weight.detach()
    output_head.loss(hidden, Head(frozen, None), POSITIONS, TARGETS, WEIGHTS).backward()
    assert hidden.grad is not None
    assert frozen.grad is None


def test_the_softmax_of_many_rows_is_that_of_each() -> None:
    torch.manual_seed(0)
    rows = 2 * output_head.CACHED_ROWS + 3
    hidden, weight = torch.randn(rows, 6, dtype=torch.float64), torch.randn(40, 6, dtype=torch.float64)
    targets = torch.arange(rows) % 40
    wanted = (hidden @ weight.t()).log_softmax(-1)[torch.arange(rows), targets]
    found = output_head.log_probs(hidden, Head(weight, None), torch.arange(rows), targets)
    assert torch.allclose(found, wanted, atol=1e-12)
