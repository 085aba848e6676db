"""Data parallel training: every process holds the whole model, and computes the gradient of its rows of each batch.

The gradients are summed once per optimiser step, before they are clipped; as the loss of a row is weighed by the whole
batch (retune.training.micro_batches), the sum is the gradient that one process would have computed. Without other
processes every function here does nothing, at no cost. `retune.training.distributed.launch` starts the processes.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")

BUCKET_SIZE = 2**24
"""Most gradient elements that are reduced in one message."""

TIMEOUT = datetime.timedelta(hours=3)
"""How long a process waits for another, which may be evaluating; one that has died is seen at once."""


def init_process_group(device_type: str, store: distributed.Store, rank: int, world_size: int) -> None:
    """Make this process the number `rank` of `world_size` processes, which meet at `store`."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    backend = "cuda:nccl,cpu:gloo" if device_type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=TIMEOUT)


def init_single_process(device_type: str) -> None:
    """Give torch a process group where there is no other process; `active` stays false."""
    if not distributed.is_initialized():
        init_process_group(device_type, distributed.HashStore(), 0, 1)


def active() -> bool:
    """Whether this process is one of several."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """The number of this process, from 0."""
    return int(distributed.get_rank()) if active() else 0


def world_size() -> int:
    """How many processes share the training."""
    return int(distributed.get_world_size()) if active() else 1


def local_rows(items: Sequence[T]) -> list[T]:
    """The rows of a batch that this process computes; every row is one process's."""
    return list(items[rank() :: world_size()])


def barrier() -> None:
    """Wait until every process has come here."""
    all_gather_object(None)


def broadcast_object(value: T) -> T:
    """The first process's value, in every process."""
    if not active():
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def all_gather_object(value: T) -> list[T]:
    """The values of all processes, by rank, in every process."""
    if not active():
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def all_reduce_sum(numbers: Sequence[float]) -> list[float]:
    """Each number's sum over the processes, in float64."""
    if not active():
        return list(numbers)
    total = torch.tensor(numbers, dtype=torch.float64)
    distributed.all_reduce(total)
    return [float(number) for number in total.tolist()]


def all_reduce_gradients(weights: Sequence[torch.nn.Parameter]) -> None:
    """Replace each gradient by its sum over the processes; a weight that none of them has used keeps none."""
    if not active():
        return
    users = all_reduce_sum([float(weight.grad is not None) for weight in weights])
    used = [weight for weight, count in zip(weights, users, strict=True) if count]
    for weight in used:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    for bucket in _buckets([weight.grad for weight in used if weight.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        distributed.all_reduce(flat)
        for gradient, total in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            gradient.copy_(total.view_as(gradient))


@torch.no_grad()
def broadcast_weights(weights: Sequence[torch.nn.Parameter]) -> None:
    """Give every process the first one's weights."""
    if active():
        for weight in weights:
            distributed.broadcast(weight.data, src=0)


def _buckets(gradients: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one dtype, up to `BUCKET_SIZE` elements together."""
    bucket: list[torch.Tensor] = []
    for gradient in gradients:
        full = bucket and sum(g.numel() for g in bucket) + gradient.numel() > BUCKET_SIZE
        if bucket and (full or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
