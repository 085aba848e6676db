"""The files of an exported LLM: bases that resolve, merged weights that are those of the training, prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from retune.errors import RetuneError
from retune.exports import llm, parity
from retune.exports.protocol import Built
from tests.support import exported, exported_llm, llm_fit, tiny_llm
from tests.support.exported_llm import ROWS, export

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def proven(built: Built, form: str, out: Path, **given: Any) -> dict[str, Any]:
    return exported.prove(built, export(built, form, out, **given), ROWS)


@pytest.mark.parametrize(("bits", "numbers"), [(4, "float32"), (8, "int8")])
def test_merged_from_a_quantised_base_answers_as_the_adapter_on_it(bits: int, numbers: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"quantization__bits": bits, "lora__targets": ["q_proj", "v_proj", "down_proj"]}
    built = exported_llm.fitted(tmp_path, **changes)
    found = proven(built, "merged", tmp_path / "small")
    assert found["dtype"] == numbers
    if bits == 4:  # in 8 bits the activations are rounded, too, which no merged model does
        assert found["largest_difference"] < 1e-5
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "small", dtype=torch.float32)
    assert not hasattr(plain.config, "quantization_config")
    original = AutoModelForCausalLM.from_pretrained(built.base, dtype=torch.float32)
    one, other = (m.model.layers[0].self_attn.k_proj.weight for m in (plain, original))
    assert not torch.equal(one, other), "an untrained weight has the values of its quantised form"


@pytest.mark.parametrize("method", ["dora", "full"])
def test_other_kinds_of_training_are_merged_alike(method: str, tmp_path: Path) -> None:
    built = exported_llm.fitted(tmp_path, lora__method=method, training__learning_rate=0.005)
    assert proven(built, "merged", tmp_path / "small")["largest_difference"] < 1e-5
    if method == "full":
        with pytest.raises(RetuneError, match=r"out has no adapter .*: set `merge: true`"):
            llm.write_adapter(built.folder, built.base, tmp_path)


def test_a_merged_model_is_cut_by_size(tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm, "SHARD", "50KB")
    found = proven(tiny, "merged", tmp_path / "small", dtype="bfloat16")
    shards = sorted((tmp_path / "small").glob("model-*-of-*.safetensors"))
    assert len(shards) > 1
    assert not list((tmp_path / "small").glob("*.bin"))
    for shard in shards:
        with safe_open(shard, "pt") as weights:
            assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118
    assert json.loads((tmp_path / "small/config.json").read_text())["dtype"] == "bfloat16"
    assert found["dtype"] == "bfloat16"
    assert found["largest_difference"] > 1e-5, "rounding to 16 bits shows"


def test_a_base_of_the_hub_is_named_by_its_commit_and_a_moved_folder_opens_offline_in_a_fresh_process(
    tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "cache/models--owner--tiny/snapshots" / COMMIT
    llm.copy_base(tiny.base, cached)
    source = {"kind": "huggingface", "repo": "owner/tiny", "revision": COMMIT}
    (cached / "SOURCE.json").write_text(json.dumps(source))
    built = exported_llm.built(tiny.folder, cached, tiny.spec, tiny.fitted)
    out = export(built, "adapter", tmp_path / "small").rename(tmp_path / "elsewhere")
    assert not (out / "base").exists()
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/tiny", COMMIT)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    found = parity.answers(out, "causal_lm", ROWS.select(built.columns))
    assert found["answers"] == pytest.approx(exported_llm.probabilities(tiny), abs=1e-5)


def test_a_branch_is_no_commit_so_its_base_is_copied(tiny: Built, tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "export"
    llm.copy_base(tiny.base, base)
    (base / "SOURCE.json").write_text(json.dumps({"kind": "huggingface", "repo": "owner/tiny", "revision": "main"}))
    out.mkdir()
    assert llm.write_adapter(tiny.folder, base, out) == "base"
    assert (out / "base/model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    assert not (out / "base/SOURCE.json").exists()


def test_answers_of_many_tokens_have_the_probabilities_of_constrained_decoding(tmp_path: Path) -> None:
    answers = {"0": "1", "1": "10"}  # one begins the other
    built = exported_llm.untrained(tmp_path, prompt={**llm_fit.PROMPT, "answers": answers})
    assert proven(built, "merged", tmp_path / "small")["largest_difference"] < 1e-5


def test_a_template_without_a_system_role_and_one_that_prints_the_day_give_the_prompt_of_training(
    tmp_path: Path,
) -> None:
    built = exported_llm.untrained(tmp_path, prompt={**llm_fit.PROMPT, "answers": exported_llm.ANSWERS})
    for name, template in (("plain", tiny_llm.NO_SYSTEM), ("day", "{{ strftime_now('%d %b') }}" + tiny_llm.CHATML)):
        tokenizer = AutoTokenizer.from_pretrained(built.base)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(built.base)
        assert proven(built, "merged", tmp_path / name)["largest_difference"] < 1e-5
