"""How the rows of a training's batch become forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from retune.training import out_of_memory

Batch = dict[str, Any]


@dataclass(frozen=True)
class Passes:
    """`cut(items, batch, size)` gives CPU tensors of `items`, in passes of at most `size` of `unit`.

    `items` are some or all rows of `batch`. The losses of the passes of all its rows add up to the loss of the batch,
    however it is cut: among processes (retune.training.distributed.data_parallel), or where memory lacks
    (retune.training.out_of_memory). `remedy` is what helps where memory lacks for the smallest pass.
    """

    cut: Callable[[list[Any], list[Any], int], list[Batch]]
    size: int
    unit: str
    remedy: str = out_of_memory.REMEDY

    def limit(self) -> out_of_memory.Limit:
        """What a pass may hold in a training that begins."""
        return out_of_memory.Limit(self.size, self.unit, "training", self.remedy)


def by_rows(collate: Callable[[list[Any], list[Any]], Batch], rows: int) -> Passes:
    """Passes of at most `rows` rows each, made by `collate(items, batch)`."""

    def cut(items: list[Any], batch: list[Any], size: int) -> list[Batch]:
        return [collate(items[start : start + size], batch) for start in range(0, len(items), size)]

    return Passes(cut, rows, "rows")


def uncut(collate: Callable[[list[Any]], Batch], rows: int) -> Passes:
    """One pass for a batch whose loss compares its rows with each other."""
    remedy = "its loss compares all rows of a batch with each other; lower training.batch_size"
    return Passes(lambda items, _batch, _size: [collate(items)], rows, "rows", remedy)
