"""How many tokens an encoder has positions for: what transformers' own models read, and not a token more."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel

from retune.training import positions

SMALL = {"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize(
    ("model_type", "padding", "tokens"),
    [
        ("bert", 0, 20), ("bert", 1, 20), ("electra", 0, 20), ("distilbert", 0, 20),
        ("roberta", 1, 18), ("xlm-roberta", 1, 18), ("xlm-roberta", 0, 19), ("camembert", 1, 18), ("mpnet", 1, 18),
    ],
)  # fmt: skip
def test_a_model_reads_so_many_tokens_and_no_more(model_type, padding, tokens, tmp_path):
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **SMALL, max_position_embeddings=20, pad_token_id=padding)
    config.save_pretrained(tmp_path)
    assert positions.of(tmp_path) == tokens
    model = AutoModel.from_config(config).eval()
    model(input_ids=torch.full((1, tokens), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, tokens + 1), 5))


def test_what_limits_nothing_cuts_nothing_and_what_cuts_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    assert positions.within(tmp_path, 4000) == 4000
    relative = {"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}
    (tmp_path / "config.json").write_text(json.dumps(relative))
    assert positions.within(tmp_path, 4000) == 4000
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 512}))
    assert positions.within(tmp_path, 512) == 512
    assert not caplog.messages
    with caplog.at_level(logging.WARNING, "retune"):
        assert positions.within(tmp_path, 1024) == 512
    assert caplog.messages == ["max_length 512: the checkpoint has no positions beyond, training.max_length is 1024"]
