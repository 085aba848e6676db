"""The stack of layers is found in any model that keeps it in a list, and its lack is one error."""

from __future__ import annotations

import pytest
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

from retune.errors import RetuneError
from retune.training.layers import layers_of
from tests.support import tiny_llm

SIZES = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 8, "vocab_size": 20}


@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
def test_a_causal_lm_and_its_decoder_have_the_same_layers(family: str) -> None:
    model = tiny_llm.model(family)
    assert layers_of(model) is layers_of(model.get_decoder()) is model.get_decoder().layers


def test_an_encoder_keeps_its_layers_deeper() -> None:
    model = BertModel(BertConfig(**SIZES))
    assert layers_of(model) is model.encoder.layer


def test_a_model_without_a_list_of_its_layers_is_refused() -> None:
    with pytest.raises(RetuneError, match=r"albert keeps its 3 layers in no list: take training.freeze_layers 0"):
        layers_of(AlbertModel(AlbertConfig(**SIZES, embedding_size=4)))
