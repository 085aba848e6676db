"""How the rows of a training's batch become micro-batches: one forward and backward pass each, gradients added up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from retune.training import out_of_memory

Batch = dict[str, Any]
"""What a forward pass takes, on the CPU."""


@dataclass(frozen=True)
class MicroBatches:
    """`split(items, batch, size)` gives CPU tensors of `items`, in micro-batches of at most `size` of `unit`.

    `items` are some or all rows of `batch`. The losses of the micro-batches of all its rows add up to the loss of the
    batch, however it is split: among processes (retune.training.distributed.data_parallel), or where memory runs out
    (retune.training.out_of_memory). `remedy` is what helps where it runs out in the smallest micro-batch.
    """

    split: Callable[[list[Any], list[Any], int], list[Batch]]
    size: int
    unit: str
    remedy: str = out_of_memory.REMEDY

    def limit(self) -> out_of_memory.Limit:
        """The most that a micro-batch may hold in a training that begins."""
        return out_of_memory.Limit(self.size, self.unit, "training", self.remedy)


def rows_per_micro_batch(collate: Callable[[list[Any], list[Any]], Batch], rows: int) -> MicroBatches:
    """Micro-batches of at most `rows` rows, made by `collate(items, batch)`."""

    def split(items: list[Any], batch: list[Any], size: int) -> list[Batch]:
        return [collate(items[start : start + size], batch) for start in range(0, len(items), size)]

    return MicroBatches(split, rows, "rows")


def whole_batch(collate: Callable[[list[Any]], Batch], rows: int) -> MicroBatches:
    """The batch as its one micro-batch, for a loss that compares its rows with each other."""
    remedy = "its loss compares all rows of a batch with each other; lower training.batch_size"
    return MicroBatches(lambda items, _batch, _size: [collate(items)], rows, "rows", remedy)
