"""The last layer of a causal LM, where its states are read alone.

Behind the last attention no token reaches another one, so the feed-forward part of the last layer need not know more of
a packed row than the positions that the output head reads (and none, where keys and values are all that is wanted). The
other positions are left without it; what the head reads, and every gradient, stays the same.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel


def shorten(model: PreTrainedModel) -> bool:
    """Let the last layer's `mlp` run where a pass with `tree=` says (see tree_attention); whether it does."""
    layers: Any = getattr(model.get_decoder(), "layers", None)
    mlp: Any = getattr(layers[-1], "mlp", None) if layers else None
    if not hasattr(mlp, "down_proj"):  # a mixture of experts, say, whose output is not one tensor
        return False
    if not hasattr(mlp, "where"):
        mlp.where, mlp.whole = None, mlp.forward
        mlp.forward = MethodType(_forward, mlp)
        layers[-1].register_forward_pre_hook(_tell, with_kwargs=True)  # again where a checkpoint recomputes the layer
    return True


def _tell(layer: Any, _: Any, given: dict[str, Any]) -> None:
    tree = given.get("tree")
    layer.mlp.where = None if tree is None else tree.where


def _forward(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    if mlp.where is None:
        whole: torch.Tensor = mlp.whole(x)
        return whole
    flat = x.flatten(0, -2)
    found = mlp.whole(flat.index_select(0, mlp.where)[None])[0]
    return (
        found.new_zeros(len(flat), found.shape[-1]).index_copy(0, mlp.where, found).view(*x.shape[:-1], found.shape[-1])
    )
