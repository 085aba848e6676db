"""Frozen weights of an LLM sharded among the processes of a training (`hardware.sharding`), by torch's FSDP.

`full`: each process keeps its shard of every layer and gathers a layer when its turn comes, forwards and backwards
(ZeRO stage 3, Rajbhandari et al. 2020; `torch.distributed.fsdp.fully_shard`). `offload`: the shards wait in the
machine's memory (the CPU part of ZeRO-Infinity, Rajbhandari et al. 2021), so a single process gains from it too, in
prediction as well. The adapter stays whole in every process, so gradients, checkpoints and the saved model are what
they are without it. Embeddings and head stay whole too: the loss reads the head piece by piece, outside of the model's
own forward pass (retune.llm.packing.output_head).
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from retune.errors import RetuneError
from retune.training.distributed import data_parallel
from retune.training.layers import decoder_of, layers_of

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")


def is_enabled(hardware: Params, chosen: Chosen) -> bool:
    """Whether this process holds shards of the layers; alone it holds them whole, unless they are offloaded."""
    sharding = hardware.get("sharding")
    if sharding == "offload" and chosen.device.type == "mps":
        raise RetuneError("hardware.sharding is offload, but an Apple GPU shares the machine's memory: use none")
    return sharding == "offload" or (sharding == "full" and data_parallel.active())


def shard(model: PreTrainedModel, hardware: Params, chosen: Chosen, precision: AbstractContextManager[Any]) -> None:
    """Shard the frozen weights of every layer of `model`, an LLM in the machine's memory, and put it on its device.

    `precision` is the context of a forward pass.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    offload, device = hardware.sharding == "offload", chosen.device
    data_parallel.init_single_process(device.type)
    mesh = init_device_mesh(device.type, (data_parallel.world_size(),))
    policy = CPUOffloadPolicy(pin_memory=device.type == "cuda") if offload else OffloadPolicy()
    for layer in layers_of(model):
        trained = {weight for weight in layer.parameters() if weight.requires_grad}
        fully_shard(layer, mesh=mesh, offload_policy=policy, ignored_params=trained)
    decoder: Any = decoder_of(model)
    # FSDP's outermost module stays gathered, and prefetches the next one while one computes: a decoder without shards
    fully_shard(decoder, mesh=mesh, ignored_params=set(decoder.parameters()))
    for tensor in chain(model.parameters(), model.buffers()):
        if not _is_shard(tensor):
            tensor.data = tensor.data.to(device)
    # FSDP keeps the buffers that layers are gathered into, and could not train in those that inference mode has made
    with torch.no_grad(), precision:
        decoder(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device), use_cache=False)
    # a forward pass that ran out of memory leaves FSDP in its midst
    decoder.register_forward_pre_hook(lambda module, _: module.reset_iter_state(), prepend=True)
    _log_share(model, hardware.sharding)


def is_sharded(model: nn.Module) -> bool:
    """Whether a forward pass needs all processes."""
    from torch.distributed.fsdp import FSDPModule

    return any(isinstance(module, FSDPModule) for module in model.modules())


def in_lockstep(model: nn.Module) -> bool:
    """Whether all processes make every forward pass together, so that none may make one of its own."""
    return data_parallel.active() and is_sharded(model)


def _log_share(model: PreTrainedModel, sharding: str) -> None:
    weights = list(model.parameters())
    total, shards = sum(w.numel() for w in weights), sum(w.to_local().numel() for w in weights if _is_shard(w))
    local = shards + sum(w.numel() for w in weights if not _is_shard(w))
    who = f"each of {data_parallel.world_size()} processes keeps" if data_parallel.active() else "this process keeps"
    where = f", {100 * shards / total:.0f} % in the machine's memory" if sharding == "offload" else ""
    log.info("sharding %s: %s %s of the weights%s", sharding, who, f"{100 * local / total:.0f} %", where)


def _is_shard(tensor: Any) -> bool:
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)
