"""Sequences and their targets as batches: a packed row, or padded rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from retune.llm.packing.prefix_tree import PackedRow

Target = tuple[int, int, float]
"""Position in its sequence, token that should follow there, weight."""


@dataclass(frozen=True)
class PackedBatch:
    """Some sequences as one forward pass; CPU tensors."""

    input_ids: torch.Tensor  # (rows, tokens); one row where it is packed
    row: PackedRow | None  # None: padded at the right, one sequence a row
    head_positions: torch.Tensor  # (positions,) flat positions whose hidden state reaches the output head, ascending
    target_rows: torch.Tensor  # (targets,) index into `head_positions`, ascending
    target_ids: torch.Tensor  # (targets,) token that should follow
    target_weights: torch.Tensor  # (targets,)
    target_numbers: torch.Tensor  # (targets,) which of the given targets this is, counted over all sequences


def packed_batch(
    row: PackedRow, numbers: list[int], targets: Sequence[Sequence[Target]], offsets: np.ndarray
) -> PackedBatch:
    """A packed row as a batch; its i-th sequence is number `numbers[i]` of all."""
    row = replace(row, sequences=tuple(numbers[place] for place in row.sequences))
    flat = [
        (row.paths[place][position], token, weight, offsets[number] + index)
        for place, number in enumerate(row.sequences)
        for index, (position, token, weight) in enumerate(targets[number])
    ]
    return _batch(torch.from_numpy(row.ids)[None], row, flat)


def padded_batch(
    numbers: list[int], sequences: Sequence[Sequence[int]], targets: Sequence[Sequence[Target]], offsets: np.ndarray
) -> PackedBatch:
    """An ordinary batch; the padding stands at the right, where causal attention cannot see it, and needs no mask."""
    width = max(len(sequences[number]) for number in numbers)
    input_ids = torch.zeros((len(numbers), width), dtype=torch.long)
    flat = []
    for row, number in enumerate(numbers):
        input_ids[row, : len(sequences[number])] = torch.tensor(sequences[number])
        for index, (position, token, weight) in enumerate(targets[number]):
            flat.append((row * width + position, token, weight, offsets[number] + index))
    return _batch(input_ids, None, flat)


def _batch(input_ids: torch.Tensor, row: PackedRow | None, flat: list[tuple[int, int, float, int]]) -> PackedBatch:
    """A batch with its targets: (flat position, token, weight, number among all targets) each."""
    flat.sort(key=lambda target: (target[0], target[3]))
    positions, rows = np.unique(np.array([target[0] for target in flat], dtype=np.int64), return_inverse=True)
    _, tokens, weights, numbers = zip(*flat, strict=True) if flat else ((), (), (), ())
    return PackedBatch(
        input_ids=input_ids,
        row=row,
        head_positions=torch.from_numpy(positions),
        target_rows=torch.from_numpy(rows),
        target_ids=torch.tensor(tokens, dtype=torch.long),
        target_weights=torch.tensor(weights, dtype=torch.float32),
        target_numbers=torch.tensor(np.array(numbers, dtype=np.int64)),
    )


def by_length(numbers: list[int], sequences: Sequence[Sequence[int]], budget: int | None) -> list[list[int]]:
    """Sequence numbers, longest first, in batches whose rows times longest row stay within the budget."""
    batches: list[list[int]] = []
    for number in sorted(numbers, key=lambda i: (-len(sequences[i]), i)):
        fits = batches and (budget is None or (len(batches[-1]) + 1) * len(sequences[batches[-1][0]]) <= budget)
        if fits:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches
