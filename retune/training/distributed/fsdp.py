"""Frozen weights of an LLM divided among the processes of a training (`hardware.sharding`), by torch's FSDP.

`full`: each process keeps its part of every layer and gathers a layer when its turn comes, forwards and backwards (ZeRO
stage 3, Rajbhandari et al. 2020; `torch.distributed.fsdp.fully_shard`). `offload`: the parts wait in the machine's
memory (the CPU part of ZeRO-Infinity, Rajbhandari et al. 2021), so a single process gains from it too, in prediction as
well. The adapter stays whole in every process, so gradients, checkpoints and the saved model are what they are without
it. Embeddings and head stay whole too: the loss reads the head piece by piece, outside of the model's own forward pass
(retune.llm.packing.output_head).
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

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")


def wanted(hardware: Params, chosen: Chosen) -> bool:
    """Whether this process keeps parts of the layers; alone it keeps them whole, unless they wait in memory."""
    how = hardware.get("sharding")
    if how == "offload" and chosen.device.type == "mps":
        raise RetuneError("hardware.sharding is offload, but an Apple GPU shares the machine's memory: use none")
    return how == "offload" or (how == "full" and data_parallel.active())


def divide(model: PreTrainedModel, hardware: Params, chosen: Chosen, precision: AbstractContextManager[Any]) -> None:
    """Shard the frozen weights of every layer of `model`, an LLM in the machine's memory, and put it on its device.

    `precision` is the context of a forward pass.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    offload, device = hardware.sharding == "offload", chosen.device
    data_parallel.join_alone(device.type)
    mesh = init_device_mesh(device.type, (data_parallel.size(),))
    policy = CPUOffloadPolicy(pin_memory=device.type == "cuda") if offload else OffloadPolicy()
    for layer in _layers(model):
        trained = {weight for weight in layer.parameters() if weight.requires_grad}
        fully_shard(layer, mesh=mesh, offload_policy=policy, ignored_params=trained)
    decoder: Any = model.get_decoder()
    # FSDP's outermost module stays gathered, and lets the next one come while one computes: a decoder without parts
    fully_shard(decoder, mesh=mesh, ignored_params=set(decoder.parameters()))
    for tensor in chain(model.parameters(), model.buffers()):
        if not _is_part(tensor):
            tensor.data = tensor.data.to(device)
    # FSDP keeps the room that layers are gathered in, and could not train in one that inference mode has made
    with torch.no_grad(), precision:
        decoder(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device), use_cache=False)
    # a pass that failed for lack of memory leaves FSDP in its midst
    decoder.register_forward_pre_hook(lambda module, _: module.reset_iter_state(), prepend=True)
    _say(model, hardware.sharding)


def divided(model: nn.Module) -> bool:
    """Whether a forward pass needs all processes."""
    from torch.distributed.fsdp import FSDPModule

    return any(isinstance(module, FSDPModule) for module in model.modules())


def in_step(model: nn.Module) -> bool:
    """Whether other processes wait for this one in each forward pass, so that it may take no pass of its own."""
    return data_parallel.active() and divided(model)


def _say(model: PreTrainedModel, how: str) -> None:
    weights = list(model.parameters())
    whole, parts = sum(w.numel() for w in weights), sum(w.to_local().numel() for w in weights if _is_part(w))
    kept = parts + sum(w.numel() for w in weights if not _is_part(w))
    who = f"each of {data_parallel.size()} processes keeps" if data_parallel.active() else "this process keeps"
    where = f", {100 * parts / whole:.0f} % in the machine's memory" if how == "offload" else ""
    log.info("sharding %s: %s %s of the weights%s", how, who, f"{100 * kept / whole:.0f} %", where)


def _is_part(tensor: Any) -> bool:
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder's layers: the longest list of modules in it."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len)
