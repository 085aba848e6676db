"""A merged LLM by llama.cpp's converter, as far as its package `gguf` goes: template, tokens and weights arrive."""

from __future__ import annotations

import re
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from retune.exports import llm
from retune.learners.llm.task_prompt import prepare
from retune.llm.prompt import prompt
from tests.support import llm_fit, tiny_llm


def converted(folder: Path, file: Path) -> gguf.GGUFReader:
    """What convert_hf_to_gguf.py does to a folder, but for the kind of vocabulary and the sizes of the layers."""
    writer = gguf.GGUFWriter(file, "qwen2")
    gguf.Metadata.load(model_path=folder).set_gguf_meta_model(writer)
    gguf.SpecialVocab(folder, load_merges=True).add_to_gguf(writer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 2)
    for name, weight in load_file(folder / "model.safetensors").items():
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, name
        writer.add_tensor(target, weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf.GGUFReader(file)


def test_the_prompt_of_training_can_be_asked_of_a_gguf_file(tmp_path: Path) -> None:
    base, out = tiny_llm.tiny_llm(tmp_path / "base", "qwen2"), tmp_path / "merged"
    spec = llm_fit.spec_of(training__epochs=0)
    out.mkdir()
    llm.write_merged(tmp_path, base, spec, out, torch.float32)
    card = llm.write_prompt(spec, base, {"temperature": 1.7, "threshold": 0.3}, out)
    (out / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: owner/tiny\nlanguage: [zh]\n---\n# small\n")
    read = converted(out, tmp_path / "model.gguf")
    said = {name: field.contents() for name, field in read.fields.items()}

    tokenizer = AutoTokenizer.from_pretrained(out)
    assert said["tokenizer.chat_template"] == tokenizer.chat_template
    assert said["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
    assert said["tokenizer.ggml.merges"]
    assert (said["general.license"], said["general.languages"]) == ("apache-2.0", ["zh"])
    assert said["general.base_model.0.repo_url"] == "https://huggingface.co/owner/tiny"

    row = llm_fit.DEV.row(0, named=True)
    messages = [
        turn | {"content": re.sub(r"\{(\w+)\}", lambda found: row[found[1]], turn["content"])}
        for turn in card["messages"]
    ]
    text = tokenizer.apply_chat_template(
        messages, chat_template=said["tokenizer.chat_template"], tokenize=False, add_generation_prompt=True
    )
    asked = tokenizer.encode(text + card["after"], add_special_tokens=False)
    assert asked == prompt.encode(prepare(spec, base), llm_fit.DEV[:1]).ids[0]

    weights = {tensor.name: tensor.data for tensor in read.tensors}
    merged = load_file(out / "model.safetensors")
    assert len(weights) == len(merged)
    layer = "model.layers.1.self_attn.q_proj.weight"
    assert np.array_equal(weights["blk.1.attn_q.weight"], merged[layer].numpy())
