"""The folders that sentence-transformers opens: one format for both embedders, and no word against what is in them."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from transformers import AutoModel

from retune.encoders import sentence_transformers_folder, tokens
from tests.support import encoder_fit, ranking_fit
from tests.support.tiny_encoder import tiny_encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FILES = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json", "2_Normalize/config.json")


def quietly(folder: Path, caplog: pytest.LogCaptureFixture) -> SentenceTransformer:
    """The opened folder; nothing is said but that a text gets the default prompt."""
    from sentence_transformers import SentenceTransformer

    caplog.clear()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        opened = SentenceTransformer(str(folder), device="cpu")
    said = [line.getMessage() for line in caplog.records if line.name.startswith("sentence_transformers")]
    assert [line for line in said if not line.startswith("Default prompt name is set to 'query'")] == []
    return opened


def test_the_embedders_of_pairs_and_of_rankings_write_one_format(tmp_path, caplog):
    base = tiny_encoder(tmp_path / "base")
    pair, _ = encoder_fit.fit("embedder", base, tmp_path / "pair", encoder_fit.spec_of(epochs=0))
    ranking, _ = ranking_fit.fit(ranking_fit.spec_of("embedder", epochs=0), base, tmp_path / "ranking")
    for name in FILES:
        assert (pair / name).read_text() == (ranking / name).read_text(), name
    settings = [json.loads((folder / "config_sentence_transformers.json").read_text()) for folder in (pair, ranking)]
    assert settings[0].keys() == settings[1].keys()
    limits = [quietly(folder, caplog).max_seq_length for folder in (pair, ranking)]
    assert limits == [encoder_fit.spec_of().training.max_length] * 2


def test_a_text_of_a_pair_is_embedded_the_same_as_query_as_document_and_unasked(tmp_path, caplog):
    base = tiny_encoder(tmp_path / "base")
    folder, _ = encoder_fit.fit("embedder", base, tmp_path, encoder_fit.spec_of(epochs=0))
    opened, texts = quietly(folder, caplog), ["花呗怎么还款", "借呗"]
    unasked = opened.encode(texts)
    assert np.array_equal(unasked, opened.encode_query(texts))
    assert np.array_equal(unasked, opened.encode_document(texts))
    assert np.allclose(unasked, opened.encode([f"query: {text}" for text in texts], prompt=""), atol=1e-6)


@pytest.mark.parametrize("default", [None, "document"])
def test_the_default_prompt_is_the_one_that_is_named(tmp_path, default):
    from sentence_transformers import SentenceTransformer

    base = tiny_encoder(tmp_path / "base")
    encoder, tokenizer = AutoModel.from_pretrained(base, dtype=torch.float32), tokens.tokenizer_of(base)
    prefixes = {"query": "query: ", "document": "的: "}
    sentence_transformers_folder.embedder(encoder, tokenizer, "cls", prefixes, 16, tmp_path / "out", default)
    opened = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert opened.default_prompt_name == default
    assert opened.prompts == prefixes
    assert opened[1].pooling_mode == "cls"
