"""The last layer's feed-forward part runs where its states are read (that nothing else changes: tests/test_packing)."""

from __future__ import annotations

import pytest
import torch

from retune.packing import Packing
from tests import tiny_llm
from tests.test_packing import ROWS, TRIPLETS


@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
def test_it_computes_what_the_head_reads_and_nothing_for_keys_and_values(family: str) -> None:
    model = tiny_llm.model(family).double()
    plain = model(torch.tensor([ROWS[0]])).logits
    packing = Packing(model, "dense")
    seen: list[list[int]] = [[], []]
    for layer, rows in zip(model.get_decoder().layers, seen, strict=True):
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, given, rows=rows: rows.append(given[0].shape[-2]))
    (part,) = packing.parts(ROWS, TRIPLETS)
    assert part.row is not None
    packing.log_probs(part)
    packing.keys_and_values(part.row)
    tokens = part.ids.numel()
    assert seen == [[tokens, tokens], [len(part.where), 0]]
    assert len(part.where) < tokens
    assert torch.allclose(model(torch.tensor([ROWS[0]])).logits, plain)  # an ordinary pass after it is whole
    assert seen[1][-1] == len(ROWS[0])
