"""Inputs that a loss compares with each other, through an encoder in passes of bounded size.

Only the activations of one pass are held: each is computed again when its gradient is due (Gao et al. 2021, "Scaling
Deep Contrastive Learning Batch Size under Memory Limited Setup"; Chen et al. 2016), with the same draws of dropout. The
gradient is that of all inputs in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from retune.encoders import tokens
from retune.encoders.tokens import Encoded
from retune.training import micro_batches
from retune.training.micro_batches import Batch


def split(inputs: Sequence[Encoded], pad_id: int, size: int) -> dict[str, Any]:
    """`passes` of at most `size` tokens, padding included, and the `place` of each input among theirs, [inputs]."""
    passes = micro_batches.within([(1, len(one.ids)) for one in inputs], size)
    order = torch.tensor([number for numbers in passes for number in numbers])
    padded = [tokens.pad([inputs[number] for number in numbers], pad_id) for numbers in passes]
    return {"passes": padded, "place": order.argsort()}


def outputs(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    """What `model(**batch)` gives for each input, [inputs, ...], in their order."""
    passes: list[Batch] = inputs["passes"]
    if len(passes) == 1:
        found: torch.Tensor = model(**passes[0])
        return found
    return torch.cat([_recomputed(model, one) for one in passes])[inputs["place"]]


def count_tokens(inputs: dict[str, Any]) -> int:
    """Tokens of all passes, without padding."""
    return sum(int(one["attention_mask"].sum()) for one in inputs["passes"])


def _recomputed(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The output, whose activations are computed again in the backward pass.

    Tensors go by position: torch keeps the random states of the devices that it finds there.
    """
    names = list(batch)
    found: torch.Tensor = checkpoint(
        lambda *tensors: model(**dict(zip(names, tensors, strict=True))), *batch.values(), use_reentrant=False
    )
    return found
