"""The last layer's feed-forward part runs where its states are read (that nothing else changes: test_packing.py)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from retune.llm.fused import gated_mlp
from retune.llm.packing.packing import PackedModel
from tests.support import tiny_llm
from tests.support.packed_rows import ROWS, TARGETS, lora


def first(mlp: Any) -> Any:
    """The module that widens the states; GLM's widens them for gate and activation at once."""
    return mlp.gate_up_proj if hasattr(mlp, "gate_up_proj") else mlp.up_proj


@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
@pytest.mark.parametrize("adapted", [False, True])
def test_it_computes_what_the_head_reads_and_nothing_for_keys_and_values(family: str, adapted: bool) -> None:
    model = lora(family)[0] if adapted else tiny_llm.model(family).double()
    if adapted:
        gated_mlp.fuse(model)
    plain = model(torch.tensor([ROWS[0]])).logits
    packed = PackedModel(model, "dense")
    seen: list[list[int]] = [[], []]
    for layer, rows in zip(model.get_decoder().layers, seen, strict=True):
        first(layer.mlp).register_forward_hook(lambda _, __, out, rows=rows: rows.append(out.shape[-2]))
    (batch,) = packed.batches(ROWS, TARGETS)
    (nothing,) = packed.batches(ROWS, [[] for _ in ROWS])
    packed.log_probs(batch)
    packed.prefill(nothing)
    tokens = batch.input_ids.numel()
    assert seen == [[tokens, tokens], [len(batch.head_positions), 0]]
    assert len(batch.head_positions) < tokens
    assert torch.allclose(model(torch.tensor([ROWS[0]])).logits, plain)  # an ordinary pass after it is whole
    assert seen[1][-1] == len(ROWS[0])
