"""What a user is promised of a GGUF checkpoint: exact dequantised weights, the original's tokenizer, the same bytes."""

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from retune.sources.checkpoints import gguf as converter

HIDDEN, INNER, CONTEXT = 64, 128, 256
MERGES = ["1 2", "a b", "Ġ ab"]


def alphabet() -> list[str]:
    """The 256 letters in which byte-level vocabularies are written."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return list(bytes_to_unicode().values())


def write(path, architecture: str, pre: str) -> dict[str, np.ndarray]:
    """Write a GGUF file of one layer with 4-bit matrices; its tensors, dequantised by the format's own library."""
    random = np.random.default_rng(0)
    tokens = [*alphabet(), "12", "ab", "Ġab", "<|im_start|>", "<|im_end|>"]
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name("tiny")
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 2) + [3, 3])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_pad_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}")
    matrices = {"token_embd": (len(tokens), HIDDEN), "output": (len(tokens), HIDDEN), "blk.0.attn_q": (HIDDEN, HIDDEN)}
    matrices |= {"blk.0.attn_k": (HIDDEN // 2, HIDDEN), "blk.0.attn_v": (HIDDEN // 2, HIDDEN)}
    matrices |= {"blk.0.attn_output": (HIDDEN, HIDDEN), "blk.0.ffn_gate": (INNER, HIDDEN)}
    matrices |= {"blk.0.ffn_up": (INNER, HIDDEN), "blk.0.ffn_down": (HIDDEN, INNER)}
    decoded = {}
    for name, shape in matrices.items():
        packed = quants.quantize(random.normal(0, 0.1, shape).astype(np.float32), GGMLQuantizationType.Q4_0)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=GGMLQuantizationType.Q4_0)
        decoded[name] = quants.dequantize(packed, GGMLQuantizationType.Q4_0)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        decoded[name] = random.normal(1, 0.1, HIDDEN).astype(np.float32)
        writer.add_tensor(f"{name}.weight", decoded[name])
    if architecture == "qwen2":
        for name, size in {"q": HIDDEN, "k": HIDDEN // 2, "v": HIDDEN // 2}.items():
            writer.add_tensor(f"blk.0.attn_{name}.bias", np.zeros(size, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return decoded


@pytest.fixture(scope="module", params=[("qwen2", "qwen2"), ("llama", "smollm")], ids=["qwen2", "smollm"])
def converted(request, tmp_path_factory):
    """Architecture, folder of the converted checkpoint, and its tensors."""
    folder = tmp_path_factory.mktemp("gguf")
    decoded = write(folder / "joined.gguf", *request.param)
    (folder / "out").mkdir()
    converter.convert(folder / "joined.gguf", folder / "out")
    return request.param[0], folder / "out", decoded


def test_the_weights_are_the_dequantised_ones(converted):
    import torch
    from safetensors.torch import load_file

    _, folder, decoded = converted
    found = load_file(folder / "model.safetensors")
    names = {"token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm"}
    names |= {"blk.0.attn_v": "model.layers.0.self_attn.v_proj", "blk.0.ffn_down": "model.layers.0.mlp.down_proj"}
    for name, plain in names.items():
        assert torch.equal(found[f"{plain}.weight"], torch.from_numpy(decoded[name]).bfloat16()), name


def test_the_folder_loads_and_runs_as_any_other(converted):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, folder, _ = converted
    model, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer.apply_chat_template([{"role": "user", "content": "ab"}], return_tensors="pt", return_dict=True)
    assert tokenizer.convert_ids_to_tokens(tokens.input_ids[0]) == ["<|im_start|>", "ab", "<|im_end|>"]
    with torch.no_grad():
        assert model(**tokens).logits.isfinite().all()
    assert model.dtype == torch.bfloat16
    assert tokenizer.model_max_length == CONTEXT
    assert tokenizer.pad_token == "<|im_end|>"


def test_the_tokenizer_is_the_original_s(converted):
    from transformers import AutoTokenizer

    architecture, folder, _ = converted
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def split(text: str) -> list[str]:
        return tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)

    assert split("12 ab") == [
        "1",
        "2",
        "Ġab",
    ]  # both originals keep digits apart, and "12" is a merge of the vocabulary
    composed = tokenizer("e\u0301").input_ids == tokenizer("\u00e9").input_ids
    assert composed == (architecture == "qwen2")


def test_the_same_bytes_each_time(converted, tmp_path):
    architecture, folder, _ = converted
    write(tmp_path / "joined.gguf", architecture, {"qwen2": "qwen2", "llama": "smollm"}[architecture])
    (tmp_path / "out").mkdir()
    converter.convert(tmp_path / "joined.gguf", tmp_path / "out")
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in (tmp_path / "out").iterdir())
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes(), file.name
