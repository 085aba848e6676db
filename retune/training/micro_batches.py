"""How the rows of a training's batch become micro-batches: one forward and backward pass each, gradients added up.

A batch is what an optimiser step learns from. What its loss divides by (rows, weights of tokens or classes, pairs of
documents) is that of the whole batch in every micro-batch, so its gradient does not depend on how it is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from retune.training import out_of_memory

Batch = dict[str, Any]
"""What a forward pass takes, on the CPU."""


def _one_pass(_micro_batch: Batch) -> int:
    return 1


@dataclass(frozen=True)
class MicroBatches:
    """`split(items, batch, size)` gives CPU tensors of `items`, in micro-batches of at most `size` of `unit`.

    `items` are some or all rows of `batch`. The losses of the micro-batches of all its rows add up to the loss of the
    batch, however it is split: among processes (retune.training.distributed.data_parallel), or where memory runs out
    (retune.training.out_of_memory). A micro-batch is one forward pass, or `passes_of` it, where its loss compares more
    inputs than one may hold.
    """

    split: Callable[[list[Any], list[Any], int], list[Batch]]
    size: int
    unit: str
    passes_of: Callable[[Batch], int] = _one_pass

    def limit(self) -> out_of_memory.Limit:
        """The most that a forward pass may hold in a training that begins."""
        return out_of_memory.Limit(self.size, self.unit, "training")

    def passes(self, items: list[Any], batch: list[Any], size: int) -> int:
        """How many forward passes `items` take."""
        return sum(self.passes_of(one) for one in self.split(items, batch, size))


def tokens_per_micro_batch(
    collate: Callable[[list[Any], list[Any]], Batch], shape: Callable[[Any], tuple[int, int]], tokens: int
) -> MicroBatches:
    """Micro-batches of whole items, made by `collate(items, batch)`, of at most `tokens` tokens, padding included.

    `shape(item)` is the number of its inputs and the length of the longest; a larger item is alone.
    """

    def split(items: list[Any], batch: list[Any], size: int) -> list[Batch]:
        return [collate([items[place] for place in places], batch) for places in within(list(map(shape, items)), size)]

    return MicroBatches(split, tokens, "tokens")


def within(shapes: Sequence[tuple[int, int]], size: int) -> list[list[int]]:
    """The places of the items of each pass: `size` tokens at most, where each input is padded to the longest.

    `shapes` are (inputs, longest) of each item. What fits into one pass stays in its order, else the longest is first.
    """
    if sum(inputs for inputs, _ in shapes) * max((longest for _, longest in shapes), default=0) <= size:
        return [list(range(len(shapes)))] if shapes else []
    passes: list[list[int]] = []
    held, width = 0, 0
    for place in sorted(range(len(shapes)), key=lambda place: -shapes[place][1]):
        inputs, longest = shapes[place]
        if not passes or (held + inputs) * width > size:
            passes.append([])
            held, width = 0, longest
        passes[-1].append(place)
        held += inputs
    return passes
