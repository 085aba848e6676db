"""retune.llm.fused.rms_norm against the models' own modules."""

import pytest
import torch
from torch import nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.glm4.modeling_glm4 import Glm4RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from retune.llm import adapter
from retune.llm.fused import rms_norm
from retune.training import hardware
from tests.support import llm_fit, tiny_llm

CLASSES = [LlamaRMSNorm, Qwen3RMSNorm, Gemma3RMSNorm, Glm4RMSNorm]


def make(cls, dtype=torch.float32, width=48, eps=1e-3):
    torch.manual_seed(0)
    module = cls(width, eps=eps)
    module.weight.data.normal_().mul_(0.3)
    return module.to(dtype).requires_grad_(False)


def run(module, x, gradient):
    x = x.clone().requires_grad_()
    y = module(x)
    y.backward(gradient)
    return y.detach(), x.grad


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_values_and_gradients_are_those_of_the_model(cls, dtype, limit):
    module = make(cls, dtype)
    x, gradient = torch.randn(2, 5, 7, 48, dtype=dtype), torch.randn(2, 5, 7, 48, dtype=dtype)
    wanted = run(module, x, gradient)
    stored = module.weight.clone()
    assert rms_norm.fuse(nn.Sequential(module)) == 1
    assert module.weight.dtype == dtype
    assert torch.equal(module.weight, stored)
    for found, want in zip(run(module, x, gradient), wanted, strict=True):
        assert found.dtype == dtype
        assert torch.allclose(found, want, rtol=limit, atol=limit)


def test_a_fused_module_moves_as_a_whole():
    module = make(LlamaRMSNorm)
    rms_norm.fuse(nn.Sequential(module))
    names = list(module.state_dict())
    assert module.to("meta").scale.device.type == "meta"
    assert names == ["weight"]


def test_the_gradient_is_the_derivative():
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    scale = torch.randn(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: rms_norm.RMSNorm.apply(x, scale, 1e-2), [x])


def test_the_input_stays_as_it_was():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = torch.randn(4, 8, dtype=dtype, requires_grad=True)
        before, gradient = x.detach().clone(), torch.randn(4, 8, dtype=dtype)
        given = gradient.clone()
        rms_norm.RMSNorm.apply(x, torch.ones(8), 1e-6).backward(gradient)
        assert torch.equal(x, before)
        assert torch.equal(gradient, given)


class CentredRMSNorm(nn.Module):
    """Named like one, but another function."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width), requires_grad=False), 1e-6

    def forward(self, x):
        return torch.nn.functional.layer_norm(x, (x.shape[-1],), self.weight.to(x.dtype), None, self.eps)


def test_another_function_and_a_trained_weight_stay_as_they_are():
    other, trained = CentredRMSNorm(8), LlamaRMSNorm(8)
    assert rms_norm.fuse(nn.ModuleList([other, trained])) == 0
    assert "forward" not in vars(other)
    assert "forward" not in vars(trained)


def test_a_loaded_base_runs_fused_but_for_a_full_fine_tune(tmp_path):
    tiny_llm.tiny_llm(tmp_path)
    fused = {}
    for method in ("lora", "full"):
        spec = llm_fit.spec_of(lora__method=method)
        model = adapter.load_base(tmp_path, spec, hardware.choose(spec.hardware, tree_attention=True))
        decoder = model.get_decoder()
        fused[method] = ["forward" in vars(module) for module in (decoder.norm, decoder.layers[0].mlp)]
    assert fused == {"lora": [True, True], "full": [False, False]}
