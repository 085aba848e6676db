"""retune.llm.fused.gated_mlp against the models' own modules, with and without an adapter."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3MLP
from transformers.models.glm4.modeling_glm4 import Glm4MLP
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.qwen3.modeling_qwen3 import Qwen3MLP

from retune.llm.fused import gated_mlp, lora_linear

CLASSES = {"llama": LlamaMLP, "qwen3": Qwen3MLP, "gemma3_text": Gemma3MLP}
WIDE = 40


def make(family: str, lora: bool, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, hidden_size=12, intermediate_size=WIDE, num_attention_heads=2)
    model: nn.Module = nn.Sequential((CLASSES | {"glm4": Glm4MLP})[family](config)).requires_grad_(False)
    if lora:
        model = get_peft_model(model, LoraConfig(r=3, target_modules=["gate_proj", "up_proj", "down_proj"]))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight)
        lora_linear.fuse(model)
    return model.to(dtype)


def run(model: nn.Module) -> list[torch.Tensor]:
    """Output, and the gradients of the input and of every trained weight."""
    x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1)).to(next(model.parameters()).dtype)
    x.requires_grad_()
    y = model(x)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return [y, *torch.autograd.grad((y.float() ** 2).sum(), [x, *trained])]


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("family", list(CLASSES))
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-10), (torch.bfloat16, 3e-2)])
def test_values_and_gradients_are_those_of_the_model(family: str, lora: bool, dtype: torch.dtype, limit: float) -> None:
    model = make(family, lora, dtype)
    wanted = run(model)
    assert gated_mlp.fuse(model) == 1
    found = run(model)
    assert len(found) == (8 if lora else 2)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).abs().max() <= limit * other.abs().max()


@pytest.mark.parametrize("lora", [False, True])
def test_of_the_inner_width_two_activations_are_kept_and_not_four(lora: bool) -> None:
    def wide(model: nn.Module) -> int:
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.shape[-1] == WIDE and tensor.numel() == 2 * 5 * WIDE:
                kept[tensor.data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(torch.ones(2, 5, 12, dtype=torch.float64, requires_grad=True))
        return len(kept)

    model = make("llama", lora)
    before = wide(model)
    gated_mlp.fuse(model)
    assert (before, wide(model)) == (4 if lora else 3, 2)


def test_the_gradients_are_the_derivatives() -> None:
    gate, up = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight, bias = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    down, lora_up = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 4), (5, 2)))
    for activation in gated_mlp.ACTIVATIONS:
        assert torch.autograd.gradcheck(lambda g, u, a=activation: gated_mlp.Gated.apply(g, u, a), [gate, up])
        assert torch.autograd.gradcheck(
            lambda g, u, d, b, a=activation: gated_mlp.GatedLora.apply(g, u, a, weight, bias, d, b, 0.7),
            [gate, up, down, lora_up],
        )


class Other(LlamaMLP):
    """Named alike, but another function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) + self.up_proj(x))
        return result


def test_another_function_and_another_form_stay_as_they_are() -> None:
    other = Other(AutoConfig.for_model("llama", hidden_size=12, intermediate_size=WIDE, num_attention_heads=2))
    assert gated_mlp.fuse(nn.Sequential(other)) == 0
    assert "forward" not in vars(other)
    assert "forward" not in vars(other.gate_proj)
    assert gated_mlp.fuse(make("glm4", lora=False)) == 0
