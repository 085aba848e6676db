"""Packed rows change no loss, no gradient and no probability, in any family, and are proven before they are used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.llm import adapter
from retune.llm.packing import packing
from retune.llm.packing.packing import Packing, Triplet
from retune.training.hardware import Chosen
from tests.learners.test_llm import spec_of
from tests.support import tiny_llm

HEAD = list(range(30, 52))  # longer than Gemma's and Mistral's window
ROWS = [HEAD + tail for tail in ([3, 4, 5], [9], [7, 8, 100, 101, 3, 3, 17], [7, 8, 100, 5], list(range(100, 125)))]
TRIPLETS: list[list[Triplet]] = [
    [(len(HEAD) - 1, row[-1], 0.5), (len(row) - 1, 7, 1.0), (len(row) - 1, 9, 2.0)] for row in ROWS
]


def chosen(attention: str = "eager") -> Chosen:
    return Chosen(torch.device("cpu"), torch.float64, attention, 1)


def lora(family: str) -> tuple[Any, list[torch.nn.Parameter]]:
    """A float64 model of the family with a random adapter, and the adapter's weights."""
    model = tiny_llm.model(family).double()
    trained = adapter.add(model, spec_of().lora, "tiny", 0, chosen())
    weights = [weight.requires_grad_() for weight in trained.parameters() if weight.requires_grad]
    with torch.no_grad():
        for number, weight in enumerate(weights):
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)).double() * 0.1
    return model, weights


def alone(model: Any, rows: Sequence[Sequence[int]], triplets: Sequence[Sequence[Triplet]]) -> torch.Tensor:
    """Log-probability of every target by the slow, obvious way: one sequence at a time, all logits."""
    logs = [model(torch.tensor([row]), use_cache=False).logits[0].log_softmax(-1) for row in rows]
    return torch.stack([logs[i][position, token] for i, each in enumerate(triplets) for position, token, _ in each])


def weights_of(triplets: Sequence[Sequence[Triplet]]) -> torch.Tensor:
    return torch.tensor([weight for each in triplets for _, _, weight in each], dtype=torch.float64)


@pytest.mark.parametrize("budget", [None, 45])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
def test_loss_gradients_and_probabilities_equal_the_naive_loop(family: str, attention: str, budget: int | None) -> None:
    model, weights = lora(family)
    expected = alone(model, ROWS, TRIPLETS)
    loss = -(expected * weights_of(TRIPLETS)).sum()
    gradients = torch.autograd.grad(loss, weights)

    packed = packing.prepare(model, chosen(attention), ROWS)
    assert packed.kernel == {"eager": "chunks", "sdpa": "dense"}[attention]
    parts = packed.parts(ROWS, TRIPLETS, budget)
    assert len(parts) == (1 if budget is None else 2)
    losses = [packed.loss(part) for part in parts]
    assert sum(value.item() for value in losses) == pytest.approx(loss.item(), abs=1e-6)
    found = torch.autograd.grad(sum(losses), weights)
    for a, b in zip(found, gradients, strict=True):
        assert (a - b).abs().max() < 2e-6 * max(1.0, b.abs().max().item())
    logs = torch.zeros(len(expected), dtype=torch.float64)
    for part in parts:
        logs[part.order] = packed.log_probs(part).double()
    assert (logs - expected).abs().max() < 1e-6


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=12), min_size=1, max_size=8))
def test_any_sequences_give_the_probabilities_of_the_naive_loop(rows: list[list[int]]) -> None:
    model = tiny_llm.model("gemma3_text", window=4).double()
    triplets: list[list[Triplet]] = [[(i, (t * 7) % 512, 1.0) for i, t in enumerate(row)] for row in rows]
    expected = alone(model, rows, triplets).detach()
    packed = packing.prepare(model, chosen(), rows)
    (part,) = packed.parts(rows, triplets)
    logs = torch.zeros(len(expected), dtype=torch.float64)
    logs[part.order] = packed.log_probs(part).double().detach()
    assert (logs - expected).abs().max() < 1e-6


def test_the_window_of_a_sliding_layer_matters_here() -> None:
    narrow, wide = (tiny_llm.model("gemma3_text", window=window).double() for window in (16, 64))
    assert (alone(narrow, ROWS, TRIPLETS) - alone(wide, ROWS, TRIPLETS)).abs().max() > 1e-3


def test_padded_batches_give_the_same_values_within_their_budget() -> None:
    model = tiny_llm.model().double()
    plain = Packing(model, None)
    parts = plain.parts(ROWS, TRIPLETS, budget=60)
    assert [tuple(part.ids.shape) for part in parts] == [(1, 47), (2, 29), (2, 25)]
    loss = sum(plain.loss(part).item() for part in parts)
    assert loss == pytest.approx(-(alone(model, ROWS, TRIPLETS) * weights_of(TRIPLETS)).sum().item(), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: setattr(type(model), "_is_stateful", True), "carry a state"),
        (
            lambda model: setattr(model.config, "layer_types", ["linear_attention", "full_attention"]),
            "linear_attention",
        ),
        (lambda model: _forget_positions(model), "standard deviations"),
    ],
    ids=["state", "linear attention", "numbers"],
)
def test_a_model_that_cannot_share_prefixes_runs_plain_and_says_why(
    change: Any, reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_llm.model().double()
    monkeypatch.setattr(type(model), "_is_stateful", False, raising=False)
    change(model)
    with caplog.at_level(logging.WARNING):
        packed = packing.prepare(model, chosen(), ROWS)
    assert packed.kernel is None
    assert reason in caplog.text
    assert model.config._attn_implementation != "retune_tree"


def _forget_positions(model: Any) -> None:
    """A model that counts positions itself and does not look at position ids."""
    decoder = model.get_decoder()
    forward = decoder.forward
    decoder.forward = lambda *a, position_ids=None, **k: forward(*a, **k)


def test_flash_attention_runs_plain() -> None:
    packed = packing.prepare(tiny_llm.model().double(), chosen("flash_attention_2"), ROWS)
    assert packed.kernel is None


def test_gradient_checkpointing_changes_no_gradient() -> None:
    model, weights = lora("qwen2")
    packed = packing.prepare(model, chosen(), ROWS)
    (part,) = packed.parts(ROWS, TRIPLETS)
    plain = torch.autograd.grad(packed.loss(part), weights)
    model.train()
    model.activation_checkpointing_enable({"use_reentrant": False})
    checkpointed = torch.autograd.grad(packed.loss(part), weights)
    assert all(torch.allclose(a, b) for a, b in zip(plain, checkpointed, strict=True))


def test_parts_do_not_depend_on_the_order_of_the_rows() -> None:
    packed = Packing(tiny_llm.model().double())
    one, other = (packed.parts(rows, [[] for _ in rows]) for rows in (ROWS, ROWS[::-1]))
    assert np.array_equal(one[0].ids, other[0].ids)


def test_the_proof_runs_the_first_tokens_of_what_sequences_share_and_of_each_rest() -> None:
    head, most = list(range(500)), packing.CHECKED_TOKENS
    short = packing._shortened([[*head, 7, 8], [*head, *range(1000, 1300)]])
    assert short == [[*head[:most], 7, 8], [*head[:most], *range(1000, 1000 + most)]]
    assert packing._shortened([[1, 2], [3]]) == [[1, 2], [3]]
