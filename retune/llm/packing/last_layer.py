"""The last layer of a causal LM, where its states are read alone.

Behind the last attention no token reaches another one, so the feed-forward part of the last layer has to run at the
positions that the output head reads alone (and at none, where keys and values are all that is wanted). The other
positions are left without it; what the head reads, and every gradient, stays the same.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel

from retune.errors import RetuneError
from retune.training.layers import layers_of


def skip_unread_positions(model: PreTrainedModel) -> bool:
    """Let the last layer's `mlp` run at the `head_positions` of a pass with `tree=` alone; whether it does."""
    try:
        last = layers_of(model)[-1]
    except RetuneError:  # it runs at every position, which costs time alone
        return False
    mlp: Any = getattr(last, "mlp", None)
    if not hasattr(mlp, "down_proj"):  # a mixture of experts, say, whose output is not one tensor
        return False
    if not hasattr(mlp, "forward_all"):
        mlp.head_positions, mlp.forward_all = None, mlp.forward
        mlp.forward = MethodType(_forward, mlp)
        last.register_forward_pre_hook(
            _set_positions, with_kwargs=True
        )  # again where a checkpoint recomputes the layer
    return True


def _set_positions(layer: Any, _arguments: Any, keywords: dict[str, Any]) -> None:
    tree = keywords.get("tree")
    layer.mlp.head_positions = None if tree is None else tree.head_positions


def _forward(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    """(rows, tokens, width) -> the same shape; zero where no head reads."""
    if mlp.head_positions is None:
        everywhere: torch.Tensor = mlp.forward_all(x)
        return everywhere
    flat = x.flatten(0, -2)  # (rows * tokens, width)
    read = mlp.forward_all(flat.index_select(0, mlp.head_positions)[None])[0]  # (positions, width)
    out = read.new_zeros(len(flat), read.shape[-1]).index_copy(0, mlp.head_positions, read)
    return out.view(*x.shape[:-1], read.shape[-1])
