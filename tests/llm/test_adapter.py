"""Which modules an adapter stands on: those that were named, each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from retune.errors import RetuneError
from retune.llm import adapter
from retune.params import Params
from retune.training import hardware
from tests.support import tiny_llm
from tests.support.llm_fit import fitted, spec_of


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llm.tiny_llm(tmp_path_factory.mktemp("base"))


def test_one_misspelt_target_of_several_is_refused_and_not_left_out(base: Path) -> None:
    spec = spec_of()
    chosen = hardware.choose(spec.hardware)
    for targets in (["q_proj", "wrong_proj"], ["q_pro"]):
        model = adapter.load_base(base, spec, chosen)
        with pytest.raises(RetuneError, match=rf"lora\.targets: there is no module `{targets[-1]}` in tiny.*q_proj"):
            adapter.add(model, Params(spec.lora | {"targets": targets}), "tiny", 0, chosen)
    model = adapter.add(
        adapter.load_base(base, spec, chosen), Params(spec.lora | {"targets": ["q_proj", "v_proj"]}), "tiny", 0, chosen
    )
    named = {name.split(".lora_")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_" in name}
    assert named == {"q_proj", "v_proj"}


def test_an_adapter_on_the_output_head_is_trained(base: Path, tmp_path: Path) -> None:
    spec = spec_of(lora__targets=["lm_head"], training__epochs=1, training__learning_rate=0.05)
    _, trained = fitted(spec, base, tmp_path / "trained")
    _, untrained = fitted(spec_of(training__epochs=0), base, tmp_path / "untrained")
    assert np.abs(trained["prob_1"].to_numpy() - untrained["prob_1"].to_numpy()).max() > 1e-3
    weights = torch.cat(
        [weight.flatten() for weight in adapter.load_file(tmp_path / "trained/out/adapter_model.safetensors").values()]
    )
    assert weights.abs().sum() > 0


def test_no_adapter_stands_on_what_reads_images() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 400, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 8}
    config = AutoConfig.for_model(
        "gemma3", text_config=text, vision_config={**sizes, "image_size": 28, "patch_size": 14}
    )
    model = AutoModelForCausalLM.from_config(config)
    spec = spec_of()
    chosen = hardware.choose(spec.hardware)
    adapted = adapter.add(
        model, Params(spec.lora | {"targets": ["q_proj", "lm_head"]}), "tiny", 0, chosen, freeze_layers=1
    )
    found = {
        name.split(".lora_")[0].removeprefix("base_model.model.")
        for name, _ in adapted.named_parameters()
        if "lora_" in name
    }
    assert any("vision_tower" in name and name.endswith("q_proj") for name, _ in model.named_modules())
    assert found == {"model.language_model.layers.1.self_attn.q_proj", "lm_head"}
