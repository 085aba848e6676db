"""Packed rows: every distinct history once, every sequence whole, ancestors told by one number each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.llm.packing.prefix_tree import pack, packed_tokens

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=12)


@given(SEQUENCES)
def test_every_distinct_history_stands_once(sequences: list[list[int]]) -> None:
    (row,) = pack(sequences)
    histories = {tuple(sequence[:end]) for sequence in sequences for end in range(1, len(sequence) + 1)}
    assert len(row.ids) == len(histories) == packed_tokens(sequences)


@given(SEQUENCES, st.integers(1, 20))
def test_each_sequence_is_found_whole_in_one_row_within_the_budget(sequences: list[list[int]], budget: int) -> None:
    rows = pack(sequences, budget)
    assert sorted(number for row in rows for number in row.sequences) == list(range(len(sequences)))
    for row in rows:
        assert len(row.ids) <= max(budget, max(len(sequences[number]) for number in row.sequences))
        for number, path in zip(row.sequences, row.paths, strict=True):
            assert row.ids[path].tolist() == sequences[number]
            assert row.depth[path].tolist() == list(range(len(path)))


@given(SEQUENCES)
def test_a_token_sees_its_own_history_and_nothing_else(sequences: list[list[int]]) -> None:
    (row,) = pack(sequences)
    sees = np.zeros((len(row.ids),) * 2, dtype=bool)
    for path in row.paths:
        for depth, position in enumerate(path):
            sees[position, path[: depth + 1]] = True
    assert (row.ancestor_mask() == sees).all()


@given(SEQUENCES)
def test_chunks_hold_every_token_once_behind_its_history(sequences: list[list[int]]) -> None:
    (row,) = pack(sequences)
    assert [p for chunk in row.chunks for p in range(chunk.start, chunk.stop)] == list(range(len(row.ids)))
    for chunk in row.chunks:
        assert chunk.path[-1] == chunk.stop - 1
        assert np.flatnonzero(row.ancestor_mask()[chunk.stop - 1]).tolist() == chunk.path.tolist()


def test_the_drawing_of_the_docstring() -> None:
    (row,) = pack([[*map(ord, letters)] for letters in ("ABC", "ABDE", "AF")])
    assert "".join(map(chr, row.ids)) == "ABCDEF"
    assert row.depth.tolist() == [0, 1, 2, 2, 3, 1]
    assert row.end.tolist() == [6, 5, 3, 5, 5, 6]


def test_the_order_of_the_given_sequences_changes_no_token() -> None:
    sequences = [[1, 2, 3], [1, 2], [1, 4], [5], [1, 2, 3]]
    assert pack(sequences)[0].ids.tolist() == pack(sequences[::-1])[0].ids.tolist() == [1, 2, 3, 4, 5]


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        pack([[1], []])
