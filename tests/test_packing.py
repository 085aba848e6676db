"""Packing several sequences into one row changes no logit and no gradient, in any family that it is used for."""

from __future__ import annotations

import pytest
import torch

from retune import packing
from retune.packing import logits_at
from tests import tiny_llm

HEAD = list(range(30, 52))  # longer than Gemma's and Mistral's window
ROWS = [HEAD + tail for tail in ([3, 4, 5], [9], [7, 8, 100, 101, 3, 3, 17], list(range(100, 125)))]
POSITIONS = [[len(HEAD), len(row) - 1] if len(row) > len(HEAD) + 1 else [len(row) - 1] for row in ROWS]


def alone(model: torch.nn.Module) -> torch.Tensor:
    logits = [model(torch.tensor([row]), use_cache=False).logits[0] for row in ROWS]
    return torch.cat([row[at] for row, at in zip(logits, POSITIONS, strict=True)])


def gradients(model: torch.nn.Module, logits: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(logits.log_softmax(-1)[:, 5].sum(), list(model.parameters()), allow_unused=True))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", packing.FAMILIES)
def test_packed_logits_and_gradients_equal_those_of_each_row_alone(family: str, attention: str) -> None:
    model = tiny_llm.model(family).double()
    model.set_attn_implementation(attention)
    expected, packed = alone(model), logits_at(model, ROWS, POSITIONS)
    assert packed.shape == expected.shape
    assert (packed - expected).abs().max() < 1e-5
    for a, b in zip(gradients(model, packed), gradients(model, expected), strict=True):
        assert (a - b).abs().max() < 1e-5 * max(1.0, b.abs().max())


def test_the_window_of_a_sliding_layer_matters_here() -> None:
    narrow, wide = (tiny_llm.model("gemma3_text", window=window).double() for window in (16, 64))
    assert (alone(narrow) - alone(wide)).abs().max() > 1e-3


def test_the_common_head_is_run_once() -> None:
    inputs = packing._packed(tiny_llm.model(), ROWS, POSITIONS)
    assert inputs["input_ids"].shape == (1, len(HEAD) + sum(len(row) - len(HEAD) for row in ROWS))


def test_an_unknown_family_gets_a_padded_batch_with_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "FAMILIES", ())
    model = tiny_llm.model().double()
    assert (logits_at(model, ROWS, POSITIONS) - alone(model)).abs().max() < 1e-5


def test_equal_rows_and_a_single_row_keep_their_own_positions() -> None:
    model = tiny_llm.model().double()
    twice = logits_at(model, [ROWS[0], ROWS[0]], [[2], [2]])
    assert torch.allclose(twice[0], twice[1])
    assert torch.allclose(twice[0], model(torch.tensor([ROWS[0]])).logits[0, 2], atol=1e-6)
