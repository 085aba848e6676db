"""The fused LoRA layer gives peft's values and gradients, and stays away from layers that are not plain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from retune.llm import adapter
from retune.llm.fused import lora_linear
from retune.training import hardware
from tests.support import llm_fit, tiny_llm


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 10), nn.Linear(10, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).tanh())


def adapted(dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model = get_peft_model(Two(), LoraConfig(r=3, lora_alpha=5, target_modules=["first", "second"], **options))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    return model.to(dtype)


@pytest.mark.parametrize("rslora", [False, True])
def test_values_and_gradients_are_those_of_peft(rslora: bool) -> None:
    plain, fused = adapted(use_rslora=rslora), adapted(use_rslora=rslora)
    assert lora_linear.fuse(fused) == 2
    x = torch.randn(2, 7, 6, dtype=torch.float64, requires_grad=True)
    outs = [model(x) for model in (plain, fused)]
    assert torch.allclose(*outs)
    for out, model in zip(outs, (plain, fused), strict=True):
        leaves = [x, *(w for w in model.parameters() if w.requires_grad)]
        model.found = torch.autograd.grad((out**2).sum(), leaves)
    assert len(fused.found) == 5
    assert all(torch.allclose(a, b) for a, b in zip(plain.found, fused.found, strict=True))


def test_float32_adapters_on_16_bit_weights_get_float32_gradients() -> None:
    model = adapted(torch.float32)
    for name, weight in model.named_parameters():
        if "lora" not in name:
            weight.data = weight.data.bfloat16()
    lora_linear.fuse(model)
    model(torch.randn(3, 6, dtype=torch.bfloat16)).float().sum().backward()
    kinds = {weight.grad.dtype for weight in model.parameters() if weight.requires_grad and weight.grad is not None}
    assert kinds == {torch.float32}
    assert len(lora_linear.weights(model)) == 4


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_dropout": 0.1}])
def test_what_is_not_plain_is_left_to_peft(options: dict[str, Any]) -> None:
    model = adapted(**options)
    assert lora_linear.fuse(model) == 0
    assert lora_linear.weights(model) == []


def test_weights_are_laid_out_by_their_longer_side_and_keep_their_values() -> None:
    model = Two()
    before = [layer.weight.detach().clone() for layer in (model.first, model.second)]
    lora_linear.lay_out_weights(model)
    assert [layer.weight.stride() for layer in (model.first, model.second)] == [(1, 10), (10, 1)]
    assert all(torch.equal(a, layer.weight) for a, layer in zip(before, (model.first, model.second), strict=True))


def test_a_loaded_base_is_laid_out_but_for_its_output_head_and_a_full_fine_tune(tmp_path: Path) -> None:
    tiny_llm.tiny_llm(tmp_path)
    strides = {}
    for method in ("lora", "full"):
        spec = llm_fit.spec_of(lora__method=method)
        model = adapter.load_base(tmp_path, spec, hardware.choose(spec.hardware, tree_attention=True))
        weight, head = model.get_decoder().layers[0].mlp.gate_proj.weight, model.get_output_embeddings().weight
        assert weight.shape[0] > weight.shape[1]
        strides[method] = weight.stride()[0] == 1
        assert head.is_contiguous()
    assert strides == {"lora": True, "full": False}
