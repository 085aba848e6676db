"""RMS normalisation by frozen weights as one operation (Zhang and Sennrich 2019), instead of a chain of ten.

y = x / sqrt(mean(x^2) + eps) * scale. Only x and the root are kept for the backward pass, which is written out; a small
model on a processor spends a third of its step on the chain. Same values as the model's own, but for rounding.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn

PROBE_ROWS, TOLERANCE = 8, 1e-5
"""Rows on which a module is compared with ours, in float64, and the largest difference that is the same function."""


def fuse(model: nn.Module) -> int:
    """Let every RMS normalisation of frozen weights run fused; the number that do.

    Models write the scale as the weight (Llama, Qwen, GLM) or as 1 + weight (Gemma): the one is taken that gives what
    the module gives. A module that gives neither, and one whose weight is trained, stays as it is.
    """
    fused = 0
    for module in model.modules():
        scale = _scale(module) if type(module).__name__.endswith("RMSNorm") else None
        if scale is not None:
            module.register_buffer("scale", scale, persistent=False)  # goes where the module goes
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _scale(module: Any) -> torch.Tensor | None:
    """What the module multiplies by, in float32; None where it is not such a normalisation."""
    weight: torch.Tensor | None = getattr(module, "weight", None)
    if weight is None or weight.dim() != 1 or weight.requires_grad:
        return None
    stored, wide = weight.data, weight.data.double()
    x = torch.linspace(-2, 3, PROBE_ROWS * len(wide), dtype=torch.float64, device=wide.device).view(PROBE_ROWS, -1)
    weight.data = wide  # in 16 bits the module's own rounding would hide a difference
    try:
        expected = module(x).double()
    finally:
        weight.data = stored
    for scale in (wide, 1 + wide):
        if torch.allclose(RMSNorm.apply(x, scale, _eps(module)), expected, rtol=TOLERANCE, atol=TOLERANCE):
            return scale.float()
    return None


def _eps(module: Any) -> float:
    return float(getattr(module, "variance_epsilon", getattr(module, "eps", 0.0)))


def _forward(module: Any, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = RMSNorm.apply(x, module.scale, _eps(module))
    return result


class RMSNorm(torch.autograd.Function):
    """x (..., width), scale (width,) -> (..., width), computed in float32 or wider; no gradient of the scale."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, eps: float) -> torch.Tensor:
        """y, and what its gradient needs."""
        wide = _wide(x)
        root = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale, root)
        return torch.mul(wide, root).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Of y_i by x_j: root * scale_i * (1 if i = j, minus x_i root * x_j root / width)."""
        x, scale, root = ctx.saved_tensors
        normal, through = torch.mul(_wide(x), root), torch.mul(_wide(gradient), scale)
        mean = torch.linalg.vecdot(through, normal).unsqueeze(-1).div_(x.shape[-1])
        return through.addcmul_(normal, mean, value=-1).mul_(root).to(x.dtype), None, None


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()
