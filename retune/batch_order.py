"""The order in which a training sees its rows: a function of their lengths and the seed, known before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def order(lengths: Sequence[int], batch_size: int, epochs: float, seed: int) -> list[np.ndarray]:
    """The row numbers of every batch of a training: each epoch visits every row once, the last perhaps only a part.

    Rows are shuffled, sorted by length within groups of `MEGABATCH` batches and cut into batches, which are shuffled.
    """
    size = np.asarray(lengths)
    batches: list[np.ndarray] = []
    per_epoch = math.ceil(len(size) / batch_size)
    for epoch in range(math.ceil(epochs)):
        random = np.random.default_rng([seed, epoch])
        rows = random.permutation(len(size))
        chunks = np.array_split(rows, range(MEGABATCH * batch_size, len(rows), MEGABATCH * batch_size))
        rows = np.concatenate([chunk[np.argsort(size[chunk], kind="stable")] for chunk in chunks])
        cut = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        batches += [cut[i] for i in random.permutation(per_epoch)]
    return batches[: max(1, round(per_epoch * epochs))]
