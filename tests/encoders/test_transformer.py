"""Checkpoints of encoders: what is frozen has a file of its own, and whoever opens the folder gets the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, BertConfig, BertForMaskedLM, PreTrainedModel, T5Config, T5EncoderModel

from retune.encoders import transformer
from retune.encoders.transformer import FROZEN, TRAINED, WORDS
from retune.params import Params
from tests.support import encoder_fit, ranking_fit
from tests.support.tiny_encoder import tiny_encoder

LORA = {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "targets": ["query", "value"]}
WORD = "embeddings.word_embeddings.weight"
IDS = torch.tensor([[2, 9, 8, 7, 3], [2, 11, 6, 3, 0]])


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


def trained(encoder: PreTrainedModel, seed: int, embeddings: bool = True, layers: int = 0) -> PreTrainedModel:
    """The encoder, frozen as the section `training` says, with every other weight changed."""
    transformer.freeze(encoder, Params(freeze_embeddings=embeddings, freeze_layers=layers))
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight))
    return encoder.eval()


def opened(folder: Path, as_class: type = AutoModel) -> PreTrainedModel:
    """The model that transformers finds in a folder, with nothing missing and nothing left over."""
    without = {"add_pooling_layer": False} if as_class is AutoModel else {}
    model, told = as_class.from_pretrained(folder, output_loading_info=True, **without)
    assert {name: list(found) for name, found in told.items() if found} == {}
    return model.eval()


def names(file: Path) -> set[str]:
    return set(load_file(file))


@pytest.mark.parametrize("layers", [0, 1])
def test_what_is_frozen_is_the_same_file_in_every_model_of_a_base_and_no_other_is(base, tmp_path, layers):
    for seed in (1, 2):
        encoder = trained(AutoModel.from_pretrained(base, add_pooling_layer=False), seed, layers=layers)
        transformer.save(encoder, tmp_path / str(seed))
        with torch.no_grad():
            want = encoder(IDS).last_hidden_state
            assert torch.equal(opened(tmp_path / str(seed))(IDS).last_hidden_state, want)
    one, other = ({file.name: file for file in (tmp_path / seed).glob("*.safetensors")} for seed in "12")
    assert set(one) == set(other) == ({WORDS, FROZEN, TRAINED} if layers else {WORDS, TRAINED})
    assert {name for name in one if one[name].read_bytes() == other[name].read_bytes()} == set(one) - {TRAINED}
    pretrained = load_file(base / "model.safetensors")
    frozen = load_file(one[WORDS]) | (load_file(one[FROZEN]) if layers else {})
    assert all(torch.equal(value, pretrained[name]) for name, value in frozen.items())
    below = ("embeddings.", "encoder.layer.0.") if layers else (WORD,)
    assert set(frozen) == {name for name in pretrained if name.startswith(below)}
    assert names(one[TRAINED]) == pretrained.keys() - frozen.keys()


def test_models_that_freeze_different_layers_share_the_word_embeddings(base, tmp_path):
    for layers in (0, 1):
        encoder = AutoModel.from_pretrained(base, add_pooling_layer=False)
        transformer.save(trained(encoder, layers, layers=layers), tmp_path / str(layers))
    assert names(tmp_path / "0" / WORDS) == {WORD}
    assert (tmp_path / "0" / WORDS).read_bytes() == (tmp_path / "1" / WORDS).read_bytes()


def test_a_model_with_nothing_frozen_is_one_file_and_an_untouched_one_has_its_base_s_bytes(base, tmp_path):
    transformer.save(trained(AutoModel.from_pretrained(base, add_pooling_layer=False), 1, False), tmp_path / "whole")
    transformer.save(AutoModel.from_pretrained(base, add_pooling_layer=False), tmp_path / "same")
    for folder in ("whole", "same"):
        assert sorted(file.name for file in (tmp_path / folder).iterdir()) == ["config.json", "model.safetensors"]
    assert (tmp_path / "same/model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()


def test_old_names_and_half_precision_of_a_base_open_again(base, tmp_path):
    """A checkpoint of a masked LM in bfloat16: its names have a prefix, and it has weights that an encoder hasn't."""
    config = BertConfig.from_pretrained(base)
    torch.manual_seed(3)
    BertForMaskedLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    encoder = AutoModel.from_pretrained(tmp_path / "base", dtype=torch.float32, add_pooling_layer=False)
    transformer.save(trained(encoder, 1), tmp_path / "out")
    again = opened(tmp_path / "out").state_dict()
    assert again.keys() == encoder.state_dict().keys()
    for name, value in encoder.state_dict().items():
        assert torch.equal(again[name], value), name


def test_a_tied_weight_that_is_frozen_is_stored_once(tmp_path):
    torch.manual_seed(4)
    config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    encoder = trained(T5EncoderModel(config), 1)
    transformer.save(encoder, tmp_path)
    assert len(names(tmp_path / WORDS)) == 1
    assert not names(tmp_path / WORDS) & names(tmp_path / TRAINED)
    with torch.no_grad():
        assert torch.equal(opened(tmp_path, T5EncoderModel)(IDS).last_hidden_state, encoder(IDS).last_hidden_state)


def test_both_learners_of_pairs_share_what_is_frozen_and_predict_it_from_their_folders(base, tmp_path):
    from sentence_transformers import SentenceTransformer

    rows = encoder_fit.pairs(20)
    frozen = []
    for learner, seed in (("embedder", 1), ("encoder", 2)):
        spec = encoder_fit.spec_of(epochs=0.5) | {"seed": seed}
        out, _ = encoder_fit.fit(learner, base, tmp_path / learner, Params(spec))
        frozen.append((out / WORDS).read_bytes())
        assert names(out / WORDS) == {WORD}
        assert encoder_fit.load(learner, out).predict(rows).height == len(rows)
    assert frozen[0] == frozen[1]
    vectors = SentenceTransformer(str(tmp_path / "embedder/model"), device="cpu").encode(rows["text_a"].to_list())
    assert vectors.shape == (len(rows), 32)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_both_learners_of_rankings_share_what_is_frozen_and_open_in_sentence_transformers(lora, base, tmp_path):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    rows = ranking_fit.judged(4)
    frozen = []
    for learner in ("embedder", "encoder"):
        out, _ = ranking_fit.fit(ranking_fit.spec_of(learner, lora=lora, epochs=1), base, tmp_path / learner)
        frozen.append((out / WORDS).read_bytes())
        scores = ranking_fit.load(learner, out).predict(rows)["score"].to_numpy()
        if learner == "encoder":
            pairs = list(zip(rows["query"], rows["document"], strict=True))
            want = CrossEncoder(str(out), device="cpu").predict(pairs)
        else:
            model = SentenceTransformer(str(out), device="cpu")
            texts = model.encode_query(rows["query"].to_list()), model.encode_document(rows["document"].to_list())
            want = (texts[0] * texts[1]).sum(-1)
        assert np.allclose(scores, want, atol=1e-5)
    assert frozen[0] == frozen[1]
    pretrained = load_file(base / "model.safetensors")
    changed = {name for name in pretrained if not lora or name.endswith(("query.weight", "value.weight"))} - {WORD}
    assert names(out / TRAINED) == changed
    same = {name for name, value in encoder_fit.weights(out).items() if torch.equal(value, pretrained[name])}
    assert same == pretrained.keys() - changed
