"""Dropout by bytes: its share, its mean, its place in an encoder, and that a seed gives the same draw."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from retune.encoders import fast_dropout


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_that_share_is_dropped_and_the_mean_stays(probability: float) -> None:
    torch.manual_seed(0)
    found = fast_dropout.drop(torch.ones(1000, 801), probability)  # not a multiple of eight
    dropped = round(probability * 256) / 256
    assert float((found == 0).float().mean()) == pytest.approx(dropped, abs=0.002)
    assert float(found.mean()) == pytest.approx(1, abs=0.003)
    by_place = (found.flatten()[: 8 * 100_000].view(-1, 8) == 0).float().mean(0)
    assert by_place.tolist() == pytest.approx([dropped] * 8, abs=0.01)  # every byte of a word is drawn


def test_a_seed_gives_the_same_draw_and_no_probability_none() -> None:
    x = torch.randn(3, 5, requires_grad=True)
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(fast_dropout.drop(x, 0.3))
    assert torch.equal(*draws)
    assert fast_dropout.drop(x, 0.0) is x
    (gradient,) = torch.autograd.grad(draws[0].sum(), x)
    assert torch.equal(gradient == 0, draws[0] == 0)


def test_an_encoder_computes_the_same_without_dropout_and_drops_in_every_layer_with_it() -> None:
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = BertModel(config).eval()
    ids = torch.randint(0, 50, (3, 7))
    inputs = {"input_ids": ids, "attention_mask": torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4])}
    with torch.no_grad():
        before = model(**inputs).last_hidden_state
        fast_dropout.use_fast_dropout(model)
        after = model(**inputs).last_hidden_state
    assert torch.allclose(before, after, atol=1e-6)
    assert model.config._attn_implementation == fast_dropout.ATTENTION
    assert not any(type(module) is nn.Dropout for module in model.modules())

    for module in model.modules():
        if isinstance(module, fast_dropout.Dropout):
            module.p = 0.0
    attention = model.encoder.layer[1].attention.self
    attention.dropout.p = 0.5
    model.train()
    with torch.no_grad():
        drawn = [model(**inputs).last_hidden_state for _ in range(2)]
    assert not torch.allclose(*drawn)  # attention's own dropout alone
