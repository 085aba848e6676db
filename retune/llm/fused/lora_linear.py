"""A LoRA layer on frozen weights as one operation, instead of the seven that peft strings together.

y = x W' + b + s (x A') B' (Hu et al. 2021). Only x and x A' are kept for the backward pass, the update is added where
the product stands, and the small matrices are rounded once to the dtype of W. Same values as peft's, but for rounding.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn


def fuse(model: nn.Module) -> int:
    """Let every plain LoRA layer of a peft model run fused; the number of layers that do.

    Left to peft: DoRA, dropout, quantised or trained base weights, and whatever else is not a plain linear layer.
    """
    from peft.tuners.lora import Linear

    layers = [module for module in model.modules() if isinstance(module, Linear) and _is_plain(module)]
    for layer in layers:
        layer.fused = True
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def lay_out_weights(model: nn.Module) -> None:
    """Put a processor's linear weights in memory with their longer side along the rows, whichever that is.

    oneDNN packs that layout up to twice as fast, forwards and backwards; the values stay.
    """
    for module in model.modules():
        if (
            type(module) is nn.Linear
            and module.weight.device.type == "cpu"
            and module.weight.shape[0] > module.weight.shape[1]
        ):
            module.weight.data = module.weight.data.t().contiguous().t()


def weights(model: nn.Module) -> list[nn.Parameter]:
    """The adapter weights of fused layers; they cast themselves, whatever dtype they are kept in."""
    fused = [module for module in model.modules() if getattr(module, "fused", False)]
    return [w for layer in fused for w in (*layer.lora_A.parameters(), *layer.lora_B.parameters())]


def _is_plain(layer: Any) -> bool:
    base = layer.get_base_layer()
    adapters = layer.active_adapters
    return (
        type(base) is nn.Linear
        and not any(weight.requires_grad for weight in base.parameters())
        and len(adapters) == 1
        and adapters[0] not in layer.lora_variant
        and isinstance(layer.lora_dropout[adapters[0]], nn.Identity)
        and not layer.lora_bias[adapters[0]]
        and not layer.fan_in_fan_out
    )


def _forward(layer: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    result: torch.Tensor = LoraLinear.apply(x, *parameters(layer))
    return result


def parameters(layer: Any) -> tuple[Any, ...]:
    """Weight, bias, down, up and scaling of a fused layer."""
    base, (name,) = layer.get_base_layer(), layer.active_adapters
    return base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]


class LoraLinear(torch.autograd.Function):
    """x (..., in), weight (out, in), bias (out,), down (r, in), up (out, r) -> (..., out)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """y, and what its gradient needs."""
        flat = x.reshape(-1, x.shape[-1]).to(weight.dtype)
        y, saved = product(flat, weight, bias, down, up, scaling)
        ctx.save_for_backward(flat, weight, *saved)
        ctx.scaling, ctx.dtypes, ctx.shape = scaling, (x.dtype, down.dtype, up.dtype), x.shape
        return y.view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Gradients of x, down and up."""
        flat, weight, inner, down, up = ctx.saved_tensors
        flat_gradient, (x_dtype, down_dtype, up_dtype) = gradient.reshape(-1, gradient.shape[-1]), ctx.dtypes
        d_flat, d_down, d_up = gradients(flat_gradient, flat, weight, inner, down, up, ctx.needs_input_grad[0])
        d_x = None if d_flat is None else d_flat.view(ctx.shape).to(x_dtype)
        return d_x, None, None, d_down.to(down_dtype), d_up.to(up_dtype) * ctx.scaling, None


Saved = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""x A' (rows, r), A (r, in) in the weight's dtype, and B (out, r) scaled, in the same."""


def product(
    flat: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    down: torch.Tensor,
    up: torch.Tensor,
    scaling: float,
) -> tuple[torch.Tensor, Saved]:
    """Give y (rows, out) for flat (rows, in), and what `gradients` needs."""
    rounded_down, scaled_up = down.to(weight.dtype), (up * scaling).to(weight.dtype)
    inner = flat @ rounded_down.t()  # (rows, r)
    y = flat @ weight.t() if bias is None else torch.addmm(bias, flat, weight.t())
    return y.addmm_(inner, scaled_up.t()), (inner, rounded_down, scaled_up)


def gradients(
    gradient: torch.Tensor,
    flat: torch.Tensor,
    weight: torch.Tensor,
    inner: torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    needs_input_grad: bool = True,
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """Gradients of flat (None unless `needs_input_grad`), A, and B before its scaling, in the weight's dtype.

    `gradient` (rows, out); `inner`, `down` and `up` as in `Saved`.
    """
    gradient = gradient.to(weight.dtype)
    through = gradient @ up  # (rows, r), scaled
    d_flat = (gradient @ weight).addmm_(through, down) if needs_input_grad else None
    return d_flat, through.t() @ flat, (inner.t() @ gradient).t()
