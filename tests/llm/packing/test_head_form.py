"""Tests of retune.llm.packing.head_form: logits of many architectures equal transformers' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from retune.llm.packing import packing
from tests.support.packed_rows import ROWS, TARGETS, chosen

SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ARCHITECTURES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("qwen2", {}),
    ("granite", {"logits_scaling": 8.0}),
    ("cohere", {"logit_scale": 0.25}),
    ("gemma2", {"final_logit_softcapping": 0.5}),
    ("phi3", {"sliding_window": 8}),
    ("starcoder2", {"sliding_window": 8}),
    ("mistral", {"sliding_window": 8}),
    ("bloom", {}),
    ("cohere2", {"logit_scale": 0.25, "sliding_window": 8}),
    ("gpt2", {}),
    ("opt", {"ffn_dim": 32, "word_embed_proj_dim": 32}),
    ("xglm", {"d_model": 32, "num_layers": 2, "attention_heads": 2, "ffn_dim": 32}),
    ("bitnet", {}),
    ("llama4_text", {"intermediate_size_mlp": 32, "num_local_experts": 1}),
    ("modernbert-decoder", {"sep_token_id": 2, "cls_token_id": 1, "local_attention": 8}),
    ("mamba", {"state_size": 4}),
]


@pytest.mark.parametrize(("kind", "more"), ARCHITECTURES, ids=[kind for kind, _ in ARCHITECTURES])
def test_label_log_probabilities_and_the_loss_are_those_of_transformers(kind: str, more: dict[str, Any]) -> None:
    torch.manual_seed(0)
    sizes = {**SIZES, **more} if kind != "bloom" else {"vocab_size": 400, "hidden_size": 32, "n_layer": 2, "n_head": 2}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).eval()
    model = model if kind == "xglm" else model.double()  # whose mask knows no wider numbers than float32
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
        logs = [model(torch.tensor([list(ids)])).logits[0].log_softmax(-1) for ids in ROWS]
    wanted = torch.stack([logs[n][at, token] for n, row in enumerate(TARGETS) for at, token, _ in row])
    weights = torch.tensor([w for row in TARGETS for _, _, w in row], dtype=torch.float64)
    packed = packing.prepare(model, chosen(), ROWS)
    found, loss = torch.empty_like(wanted, dtype=torch.float64), 0.0
    with torch.no_grad():
        for batch in packed.batches(ROWS, TARGETS, budget=60):
            found[batch.target_numbers] = packed.log_probs(batch).double()
            loss += packed.loss(batch).item()
    assert torch.allclose(found, wanted.double(), atol=1e-5 if model.dtype == torch.float64 else 1e-3)
    assert loss == pytest.approx(-(wanted * weights).sum().item(), abs=1e-3 if model.dtype == torch.float64 else 0.05)
