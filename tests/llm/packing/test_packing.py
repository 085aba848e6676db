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

from retune.llm.packing import packing, proof
from retune.llm.packing.batches import Target
from retune.llm.packing.packing import PackedModel
from tests.support import tiny_llm
from tests.support.packed_rows import ROWS, TARGETS, chosen, lora


def alone(model: Any, rows: Sequence[Sequence[int]], targets: Sequence[Sequence[Target]]) -> torch.Tensor:
    """Log-probability of every target by the slow, obvious way: one sequence at a time, all logits."""
    logs = [model(torch.tensor([row]), use_cache=False).logits[0].log_softmax(-1) for row in rows]
    return torch.stack([logs[i][position, token] for i, each in enumerate(targets) for position, token, _ in each])


def weights_of(targets: Sequence[Sequence[Target]]) -> torch.Tensor:
    return torch.tensor([weight for each in targets for _, _, weight in each], dtype=torch.float64)


@pytest.mark.parametrize("budget", [None, 45])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
def test_loss_gradients_and_probabilities_equal_the_naive_loop(family: str, attention: str, budget: int | None) -> None:
    model, weights = lora(family)
    expected = alone(model, ROWS, TARGETS)
    loss = -(expected * weights_of(TARGETS)).sum()
    gradients = torch.autograd.grad(loss, weights)

    packed = packing.prepare(model, chosen(attention), ROWS)
    assert packed.kernel == {"eager": "chunks", "sdpa": "dense"}[attention]
    batches = packed.batches(ROWS, TARGETS, budget)
    assert len(batches) == (1 if budget is None else 2)
    losses = [packed.loss(batch) for batch in batches]
    assert sum(value.item() for value in losses) == pytest.approx(loss.item(), abs=1e-6)
    found = torch.autograd.grad(sum(losses), weights)
    for a, b in zip(found, gradients, strict=True):
        assert (a - b).abs().max() < 2e-6 * max(1.0, b.abs().max().item())
    logs = torch.zeros(len(expected), dtype=torch.float64)
    for batch in batches:
        logs[batch.target_numbers] = packed.log_probs(batch).double()
    assert (logs - expected).abs().max() < 1e-6


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=12), min_size=1, max_size=8))
def test_any_sequences_give_the_probabilities_of_the_naive_loop(rows: list[list[int]]) -> None:
    model = tiny_llm.model("gemma3_text", window=4).double()
    targets: list[list[Target]] = [[(i, (t * 7) % 512, 1.0) for i, t in enumerate(row)] for row in rows]
    expected = alone(model, rows, targets).detach()
    packed = packing.prepare(model, chosen(), rows)
    (batch,) = packed.batches(rows, targets)
    logs = torch.zeros(len(expected), dtype=torch.float64)
    logs[batch.target_numbers] = packed.log_probs(batch).double().detach()
    assert (logs - expected).abs().max() < 1e-6


def test_the_window_of_a_sliding_layer_matters_here() -> None:
    narrow, wide = (tiny_llm.model("gemma3_text", window=window).double() for window in (16, 64))
    assert (alone(narrow, ROWS, TARGETS) - alone(wide, ROWS, TARGETS)).abs().max() > 1e-3


def test_padded_batches_give_the_same_values_within_their_budget() -> None:
    model = tiny_llm.model().double()
    plain = PackedModel(model, None)
    batches = plain.batches(ROWS, TARGETS, budget=60)
    assert [tuple(batch.input_ids.shape) for batch in batches] == [(1, 47), (2, 29), (2, 25)]
    loss = sum(plain.loss(batch).item() for batch in batches)
    assert loss == pytest.approx(-(alone(model, ROWS, TARGETS) * weights_of(TARGETS)).sum().item(), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: setattr(type(model), "_is_stateful", True), "carry a state"),
        (
            lambda model: setattr(model.config, "layer_types", [*model.config.layer_types, "linear_attention"]),
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
    (batch,) = packed.batches(ROWS, TARGETS)
    plain = torch.autograd.grad(packed.loss(batch), weights)
    model.train()
    model.activation_checkpointing_enable({"use_reentrant": False})
    checkpointed = torch.autograd.grad(packed.loss(batch), weights)
    assert all(torch.allclose(a, b) for a, b in zip(plain, checkpointed, strict=True))


def test_batches_do_not_depend_on_the_order_of_the_rows() -> None:
    packed = PackedModel(tiny_llm.model().double())
    one, other = (packed.batches(rows, [[] for _ in rows]) for rows in (ROWS, ROWS[::-1]))
    assert np.array_equal(one[0].input_ids, other[0].input_ids)


def test_the_proof_runs_the_first_tokens_of_what_sequences_share_and_of_each_rest() -> None:
    head, most = list(range(500)), proof.TOKENS
    short = proof.shortened([[*head, 7, 8], [*head, *range(1000, 1300)], [*head, *range(2000, 2400)]])
    assert short == [
        [*head[:most], 7, 8],
        [*head[:most], *range(1000, 1000 + most - 3)],
        [*head[:most], *range(2000, 2000 + most - 6)],
    ]
    assert proof.shortened([[1, 2], [3]]) == [[3], [1, 2]]
