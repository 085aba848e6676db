"""The files of an exported LLM: bases that resolve, merged weights that are those of the training, prompts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from retune.errors import RetuneError
from retune.exports import llm, llm_parity
from tests.support import exported_llm, tiny_llm
from tests.support.exported_llm import opened_here

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> exported_llm.Tiny:
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))


def proven(tiny: exported_llm.Tiny, folder: Path, patch: pytest.MonkeyPatch, numbers: str = "float32") -> Any:
    expected = llm_parity.expected(tiny.model, tiny.base, tiny.spec, tiny.fitted, tiny.rows)
    rows = tiny.rows.select("text_a", "text_b").to_dicts()
    return llm_parity.compare(expected, opened_here(folder, rows, patch), numbers)


@pytest.mark.parametrize(("bits", "numbers"), [(4, "float32"), (8, "8 bits")])
def test_merged_from_a_quantised_base_answers_as_the_adapter_on_it(
    bits: int, numbers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"quantization__bits": bits, "lora__targets": ["q_proj", "v_proj", "down_proj"]}
    tiny = exported_llm.fitted(tmp_path, **changes)
    folder = tiny.export("merged", tmp_path / "export")
    found = proven(tiny, folder, monkeypatch, numbers)
    assert found["passed"], found
    assert found["same_tokens"] == 1
    if bits == 4:  # in 8 bits the activations are rounded, too, which no merged model does
        assert found["largest"] < 1e-4
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert not hasattr(plain.config, "quantization_config")
    original = AutoModelForCausalLM.from_pretrained(tiny.base, dtype=torch.float32)
    one, other = (m.model.layers[0].self_attn.k_proj.weight for m in (plain, original))
    assert not torch.equal(one, other), "an untrained weight has the values of its quantised form"


@pytest.mark.parametrize("method", ["dora", "rslora", "full"])
def test_other_kinds_of_training_are_merged_alike(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = exported_llm.fitted(tmp_path, lora__method=method, training__learning_rate=0.005)
    found = proven(tiny, tiny.export("merged", tmp_path / "export"), monkeypatch)
    assert found["passed"], found
    assert found["largest"] < 1e-5
    if method == "full":
        with pytest.raises(RetuneError, match=r"out has no adapter .*: set `merge: true`"):
            llm.write_adapter(tiny.model, tiny.base, tmp_path)


def test_a_merged_model_is_cut_by_size_and_kept_in_the_dtype_of_its_base(
    tiny: exported_llm.Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.export("merged", tmp_path / "export", dtype=torch.bfloat16, shard="50KB")
    shards = sorted(folder.glob("model-*-of-*.safetensors"))
    assert len(shards) > 1
    assert not list(folder.glob("*.bin"))
    for shard in shards:
        with safe_open(shard, "pt") as weights:
            assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    found = proven(tiny, folder, monkeypatch, "bfloat16")
    assert found["passed"], found
    assert found["largest"] > 1e-5, "rounding to 16 bits shows"
    half = tiny_llm.tiny_llm(tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(half, dtype=torch.bfloat16).save_pretrained(half)
    assert llm.stored_dtype(half) == torch.bfloat16
    assert llm.stored_dtype(tiny.base) == torch.float32


def test_a_base_of_the_hub_is_named_by_repository_and_commit_and_opens_offline_from_its_cache(
    tiny: exported_llm.Tiny, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    llm.copy_base(tiny.base, base)
    source = {"kind": "huggingface", "repo": "owner/tiny", "revision": COMMIT}
    (base / "SOURCE.json").write_text(json.dumps(source))
    (tmp_path / "export").mkdir()
    assert llm.write_adapter(tiny.model, base, tmp_path / "export") == "owner/tiny"
    assert not (tmp_path / "export/base").exists()
    (base / "SOURCE.json").unlink()
    cached = tmp_path / "cache/models--owner--tiny/snapshots" / COMMIT
    cached.parent.mkdir(parents=True)
    base.rename(cached)
    code = (
        "import sys; from peft import AutoPeftModelForCausalLM as Auto; model = Auto.from_pretrained(sys.argv[1])\n"
        "print(sum('lora_' in name for name, _ in model.named_parameters()), 'retune' in sys.modules)"
    )
    environment = {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(tmp_path / "export")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.stdout.split() == ["28", "False"], done.stderr


def test_a_branch_is_no_commit_so_its_base_is_copied(tiny: exported_llm.Tiny, tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "export"
    llm.copy_base(tiny.base, base)
    (base / "SOURCE.json").write_text(json.dumps({"kind": "huggingface", "repo": "owner/tiny", "revision": "main"}))
    out.mkdir()
    assert llm.write_adapter(tiny.model, base, out) == "base"
    assert (out / "base/model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    assert not (out / "base/SOURCE.json").exists()


def test_answers_of_many_tokens_have_the_probabilities_of_constrained_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"0": "1", "1": "10"}  # one begins the other
    tiny = exported_llm.fitted(tmp_path, prompt={**exported_llm.llm_fit.PROMPT, "answers": answers})
    found = proven(tiny, tiny.export("adapter", tmp_path / "export"), monkeypatch)
    assert found["passed"], found
    assert found["largest"] < 1e-5


def test_a_template_without_a_system_role_and_one_that_prints_the_day_give_the_prompt_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = exported_llm.fitted(tmp_path)
    for name, template in (("plain", tiny_llm.NO_SYSTEM), ("day", "{{ strftime_now('%d %b') }}" + tiny_llm.CHATML)):
        tokenizer = AutoTokenizer.from_pretrained(tiny.base)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(tiny.base)
        found = proven(tiny, tiny.export("adapter", tmp_path / name), monkeypatch)
        assert found["passed"], found
        assert found["same_tokens"] == 1


def test_a_model_that_thinks_is_asked_for_its_answer_behind_an_empty_block_of_thoughts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = {"temperature": 9.0, "threshold": 0.9, "direct": {"temperature": 1.4, "threshold": 0.4}}
    tiny = exported_llm.fitted(tmp_path, fitted=fitted, training__thinking=True)
    folder = tiny.export("adapter", tmp_path / "export")
    card = json.loads((folder / llm.PROMPT).read_text())
    assert card["after"] == "<think>\n\n</think>\n\n"
    assert (card["temperature"], card["threshold"]) == (1.4, 0.4)
    found = proven(tiny, folder, monkeypatch)
    assert found["passed"], found
    assert np.isclose(found["largest"], 0, atol=1e-5)
