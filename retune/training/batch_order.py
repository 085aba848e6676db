"""The order in which a training sees its rows: a function of their lengths and the seed, known before it starts."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch

MEGABATCH = 50
"""Batches that are sorted by length together: little padding, and the order stays nearly random."""


class Batches(torch.utils.data.Dataset[list[Any]]):
    """Batch number -> its items: the Trainer sees batches as rows, and so never reorders or cuts them."""

    def __init__(self, items: Sequence[Any], batches: list[np.ndarray]) -> None:
        self.items, self.batches = items, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> list[Any]:
        return [self.items[i] for i in self.batches[index]]


def order(
    lengths: Sequence[int], batch_size: int, epochs: float, seed: int, together: Sequence[Hashable] | None = None
) -> list[np.ndarray]:
    """The row numbers of every batch of a training: each epoch visits every row once, the last perhaps only a part.

    Rows are shuffled, sorted by length within groups of `MEGABATCH` batches and cut into batches, which are shuffled.
    Rows of equal `together` move as one, in an order that is shuffled too, and count by their longest.
    """
    size, groups = np.asarray(lengths), _groups(together, len(lengths))
    longest = np.array([size[group].max() for group in groups])
    chunk_size = MEGABATCH * batch_size * max(1, len(groups)) // max(1, len(size)) or 1
    batches: list[np.ndarray] = []
    per_epoch = math.ceil(len(size) / batch_size)
    for epoch in range(math.ceil(epochs)):
        random = np.random.default_rng([seed, epoch])
        shuffled = random.permutation(len(groups))
        chunks = np.array_split(shuffled, range(chunk_size, len(shuffled), chunk_size))
        numbers = np.concatenate([chunk[np.argsort(longest[chunk], kind="stable")] for chunk in chunks])
        rows = np.concatenate([random.permutation(groups[number]) for number in numbers])
        cut = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        batches += [cut[i] for i in random.permutation(per_epoch)]
    return batches[: max(1, round(per_epoch * epochs))]


def _groups(together: Sequence[Hashable] | None, rows: int) -> list[np.ndarray]:
    """Row numbers of each value of `together`, in the order of their first rows; without it every row alone."""
    found: dict[Hashable, list[int]] = {}
    for row in range(rows):
        found.setdefault(row if together is None else together[row], []).append(row)
    return [np.array(group) for group in found.values()]
