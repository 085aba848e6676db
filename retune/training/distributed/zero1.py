"""The optimiser's state divided among the processes (`hardware.sharding: optimizer`).

Weights and gradients are whole in every process. Each process updates its share of the weights alone, keeps Adam's
moments of these alone, and broadcasts the updated weights (ZeRO stage 1, Rajbhandari et al. 2020). Every bit is what it
is without. A checkpoint holds a file of each process, and any number of processes goes on from them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from retune.training.distributed import data_parallel

log = logging.getLogger("retune")

STATE_FILE = "optimizer.pt"
"""The Trainer's name for the state, in a checkpoint's folder and in that of each further process there."""


def shard(optimizer: torch.optim.Optimizer) -> None:
    """Let each process update its share; alone, a process updates all."""
    if not data_parallel.active():
        return
    weights = _weights(optimizer)
    owner_of = owners([weight.numel() for weight in weights], data_parallel.world_size())

    def drop_other_gradients(*_: Any) -> None:
        """What has no gradient is not updated, and gets no state; the gradients have been reduced and clipped."""
        for weight, owner in zip(weights, owner_of, strict=True):
            if owner != data_parallel.rank():
                weight.grad = None

    def broadcast_updates(*_: Any) -> None:
        for weight, owner in zip(weights, owner_of, strict=True):
            distributed.broadcast(weight.data, src=owner)

    optimizer.register_step_pre_hook(drop_other_gradients)
    optimizer.register_step_post_hook(broadcast_updates)
    own = sum(w.numel() for w, owner in zip(weights, owner_of, strict=True) if owner == data_parallel.rank())
    part = 100 * own / sum(weight.numel() for weight in weights)
    log.info("sharding optimizer: this process keeps %.0f %% of the optimiser's state", part)


def load_state(optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """Put this process's share of a checkpoint's state into the optimiser, whichever process wrote it."""
    weights, rank = _weights(optimizer), data_parallel.rank()
    owner_of = owners([weight.numel() for weight in weights], data_parallel.world_size())
    state: dict[int, Any] = {}
    for file in (checkpoint / STATE_FILE, *checkpoint.glob(f"rank-*/{STATE_FILE}")):
        saved = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        state |= {number: moments for number, moments in saved["state"].items() if owner_of[number] == rank}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def owners(sizes: Sequence[int], world_size: int) -> list[int]:
    """The rank that each weight belongs to: the largest weight first, each to the process that has least."""
    loads, ranks = [0] * world_size, [0] * len(sizes)
    for number in sorted(range(len(sizes)), key=lambda n: -sizes[n]):
        ranks[number] = loads.index(min(loads))
        loads[ranks[number]] += sizes[number]
    return ranks


def _weights(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """In the order by which a state names them."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]
