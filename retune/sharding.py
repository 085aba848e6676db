"""Frozen weights of an LLM divided among the processes of a training (`hardware.sharding: full`), by torch's FSDP.

Each process keeps its part of every layer and gathers a layer when its turn comes, forwards and backwards (ZeRO stage
3, Rajbhandari et al. 2020; `torch.distributed.fsdp.fully_shard`). The adapter stays whole in every process, so
gradients, checkpoints and the saved model are what they are without it. Embeddings and head stay whole too: the loss
reads the head piece by piece, outside of the model's own forward pass (retune.output_head).
"""

from __future__ import annotations

import logging

from torch import nn
from transformers import PreTrainedModel

from retune import data_parallel

log = logging.getLogger("retune")


def divide(model: PreTrainedModel) -> None:
    """Shard the frozen weights of every layer of `model`, an LLM with an adapter in it; alone, a process keeps all."""
    if not data_parallel.active():
        return
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    whole = sum(weight.numel() for weight in model.parameters())
    for layer in _layers(model):
        for weight in layer.parameters():
            if not weight.requires_grad:
                weight.data = weight.data.contiguous()  # retune.lora_linear may have laid it out the other way
        fully_shard(layer, ignored_params={weight for weight in layer.parameters() if weight.requires_grad})
    part = sum((w.to_local() if isinstance(w, DTensor) else w).numel() for w in model.parameters())
    log.info(
        "sharding full: each of %d processes keeps %.0f %% of the weights", data_parallel.size(), 100 * part / whole
    )


def divided(model: nn.Module) -> bool:
    """Whether a forward pass needs all processes."""
    from torch.distributed.fsdp import FSDPModule

    return any(isinstance(module, FSDPModule) for module in model.modules())


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder's layers: the longest list of modules in it."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len)
