r"""Token sequences as packed rows in which every distinct history stands once: a radix tree, laid out in preorder.

Sequences are sorted, so those that share the longest prefixes are neighbours, and each adds only the tokens in which it
departs from the one before. A token's state depends on its ancestors alone, so one forward pass over a packed row gives
for every sequence what a pass over that sequence alone gives. In preorder one number a token tells its descendants:
token i is an ancestor of j (or j itself) exactly where `i <= j < end[i]`.

    sequences  [A B C] [A B D E] [A F]        packed  A B C D E F
                                              depth   0 1 2 2 3 1
               A -- B -- C                    end     6 5 3 5 5 6
                \    `-- D -- E
                 `-- F
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Chunk:
    """The tokens that one sequence added to the row, `start` to `stop`, and the packed positions of all its tokens."""

    start: int
    stop: int
    path: np.ndarray  # (depth of the last new token + 1,): ancestors and the new tokens themselves, by depth


@dataclass(frozen=True)
class PackedRow:
    """Some sequences as one row of `len(ids)` tokens."""

    ids: np.ndarray  # (tokens,) token ids
    depth: np.ndarray  # (tokens,) position of the token in its sequences: the position id
    end: np.ndarray  # (tokens,) one past the last token below it
    sequences: tuple[int, ...]  # which of the given sequences stand here
    paths: tuple[np.ndarray, ...]  # for each of them, the packed position of its every token
    chunks: tuple[Chunk, ...]

    def ancestor_mask(self) -> np.ndarray:
        """(tokens, tokens) bool: whether the token of the first axis attends to that of the second."""
        index = np.arange(len(self.ids))
        return np.asarray((index[None, :] <= index[:, None]) & (index[:, None] < self.end[None, :]))


def pack(sequences: Sequence[Sequence[int]], budget: int | None = None) -> list[PackedRow]:
    """Pack non-empty token sequences into rows of at most `budget` tokens (a longer sequence stands in one alone).

    Deterministic: rows follow the sorted order of the sequences, equal sequences their given order.
    """
    if any(len(sequence) == 0 for sequence in sequences):
        raise ValueError("a sequence without tokens has no place in a tree")
    rows: list[PackedRow] = []
    row = _RowBuilder()
    for number in sorted(range(len(sequences)), key=lambda i: (tuple(sequences[i]), i)):
        sequence = sequences[number]
        if row.sequences and budget is not None and row.size_with(sequence) > budget:
            rows.append(row.build())
            row = _RowBuilder()
        row.add(number, sequence)
    return [*rows, row.build()] if row.sequences else rows


def packed_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """Distinct histories among the sequences: the tokens of one row without a budget."""
    return sum(len(row.ids) for row in pack(sequences))


class _RowBuilder:
    """A packed row that is being filled by sequences in sorted order."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depth: list[int] = []
        self.end: list[int] = []
        self.sequences: list[int] = []
        self.paths: list[np.ndarray] = []
        self.chunks: list[Chunk] = []
        self.last: Sequence[int] = ()
        self.path: list[int] = []  # (tokens of `last`,) their packed positions

    def shared(self, sequence: Sequence[int]) -> int:
        """Tokens that it has in common with the sequence before, from the first on."""
        limit = min(len(self.last), len(sequence))
        return next((i for i in range(limit) if self.last[i] != sequence[i]), limit)

    def size_with(self, sequence: Sequence[int]) -> int:
        return len(self.ids) + len(sequence) - self.shared(sequence)

    def add(self, number: int, sequence: Sequence[int]) -> None:
        shared, start = self.shared(sequence), len(self.ids)
        self.ids += sequence[shared:]
        self.depth += range(shared, len(sequence))
        stop = len(self.ids)
        self._close(shared)
        self.end += [0] * (stop - start)
        self.path = [*self.path[:shared], *range(start, stop)]
        path = np.array(self.path)
        if stop > start:
            self.chunks.append(Chunk(start, stop, path))
        self.sequences.append(number)
        self.paths.append(path)
        self.last = sequence

    def _close(self, depth: int) -> None:
        """No more tokens come below those of the path that are at least so deep."""
        for position in self.path[depth:]:
            self.end[position] = len(self.end)

    def build(self) -> PackedRow:
        self._close(0)
        return PackedRow(
            np.array(self.ids),
            np.array(self.depth),
            np.array(self.end),
            tuple(self.sequences),
            tuple(self.paths),
            tuple(self.chunks),
        )
