"""The feed-forward part of a layer, down(act(gate(x)) * up(x)) (Shazeer 2020), with two activations kept, not four.

The product is computed anew in the backward pass, also for the LoRA weights that read it: half of what a layer keeps
for its gradient. Same values as the model's own, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from retune.llm.fused import lora_linear

Activation = tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]
"""A function, and a gradient times its derivative."""

PROBE_VALUES, TOLERANCE = 64, 1e-6
"""Values on which a module is compared with ours, in float64, and the largest difference that is the same function."""


def _gelu(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


def _gelu_backward(gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.ops.aten.gelu_backward(gradient, x, approximate="tanh")
    return result


ACTIVATIONS: list[Activation] = [(F.silu, torch.ops.aten.silu_backward), (_gelu, _gelu_backward)]
"""What Llama, Qwen and Mistral use, and Gemma."""


def fuse(model: nn.Module) -> int:
    """Let every feed-forward module of this form run fused; the number that do. Others stay as they are."""
    fused = 0
    for module in model.modules():
        activation = _activation(module)
        if activation is not None:
            module.activation = activation
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _activation(module: Any) -> Activation | None:
    """The activation with which the module is of the form, found by trying; None where it is not."""
    names = ("gate_proj", "up_proj", "down_proj")
    layers: list[Any] = [getattr(module, name, None) for name in names]
    if not all(isinstance(layer, nn.Module) for layer in layers):
        return None
    x = torch.linspace(-6, 6, PROBE_VALUES, dtype=torch.float64)
    try:
        for layer, stand_in in zip(layers, (lambda v: v, lambda v: v + 1, lambda v: 2 * v), strict=True):
            layer.forward = stand_in  # in the place of a product with weights
        expected = module(x)
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)
    for activation in ACTIVATIONS:
        if torch.allclose(2 * activation[0](x) * (x + 1), expected, rtol=TOLERANCE, atol=TOLERANCE):
            return activation
    return None


def _forward(module: Any, x: torch.Tensor) -> torch.Tensor:
    gate, up, down = module.gate_proj(x), module.up_proj(x), module.down_proj
    if getattr(down, "fused", False):
        adapted: torch.Tensor = GatedLora.apply(gate, up, module.activation, *lora_linear.parameters(down))
        return adapted
    result: torch.Tensor = down(Gated.apply(gate, up, module.activation))
    return result


class Gated(torch.autograd.Function):
    """act(gate) * up, both (..., width)."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor, activation: Activation) -> torch.Tensor:
        """The product, and what its gradient needs."""
        ctx.save_for_backward(gate, up)
        ctx.activation = activation
        return activation[0](gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Gradients of gate and up."""
        gate, up = ctx.saved_tensors
        function, derivative = ctx.activation
        activated = function(gate)
        return derivative(gradient * up, gate), activated.mul_(gradient), None


class GatedLora(torch.autograd.Function):
    """A LoRA layer (retune.llm.fused.lora_linear) of act(gate) * up, both (..., width) -> (..., out)."""

    @staticmethod
    def forward(
        ctx: Any,
        gate: torch.Tensor,
        up: torch.Tensor,
        activation: Activation,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        lora_down: torch.Tensor,
        lora_up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """The layer's output, and what its gradient needs."""
        flat = activation[0](gate).mul_(up).flatten(0, -2).to(weight.dtype)
        y, saved = lora_linear.product(flat, weight, bias, lora_down, lora_up, scaling)
        ctx.save_for_backward(gate, up, weight, *saved)
        ctx.activation, ctx.scaling, ctx.dtypes = activation, scaling, (lora_down.dtype, lora_up.dtype)
        return y.view(*gate.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Gradients of gate, up, and the LoRA weights."""
        gate, up, weight, *saved = ctx.saved_tensors
        function, derivative = ctx.activation
        activated = function(gate)
        flat = (activated * up).flatten(0, -2).to(weight.dtype)
        d_flat, d_down, d_up = lora_linear.gradients(gradient.flatten(0, -2), flat, weight, *saved)
        assert d_flat is not None
        d_product = d_flat.view_as(gate).to(gate.dtype)
        down_dtype, up_dtype = ctx.dtypes
        d_adapter = d_down.to(down_dtype), d_up.to(up_dtype) * ctx.scaling
        return derivative(d_product * up, gate), activated.mul_(d_product), None, None, None, *d_adapter, None
