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
    tokens, groups = np.asarray(lengths), _groups(together, len(lengths))
    longest = np.array([tokens[group].max() for group in groups])
    groups_per_megabatch = MEGABATCH * batch_size * max(1, len(groups)) // max(1, len(tokens)) or 1
    batches: list[np.ndarray] = []
    per_epoch = math.ceil(len(tokens) / batch_size)
    for epoch in range(math.ceil(epochs)):
        rng = np.random.default_rng([seed, epoch])
        shuffled = rng.permutation(len(groups))
        megabatches = np.array_split(shuffled, range(groups_per_megabatch, len(shuffled), groups_per_megabatch))
        by_length = [numbers[np.argsort(longest[numbers], kind="stable")] for numbers in megabatches]
        rows = np.concatenate([rng.permutation(groups[number]) for number in np.concatenate(by_length)])
        epoch_batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        batches += [epoch_batches[i] for i in rng.permutation(per_epoch)]
    return batches[: max(1, round(per_epoch * epochs))]


def _groups(together: Sequence[Hashable] | None, rows: int) -> list[np.ndarray]:
    """Row numbers of each value of `together`, in the order of their first rows; without it every row alone."""
    groups: dict[Hashable, list[int]] = {}
    for row in range(rows):
        groups.setdefault(row if together is None else together[row], []).append(row)
    return [np.array(group) for group in groups.values()]
