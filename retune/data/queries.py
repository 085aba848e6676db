"""The rows of a ranking task as queries with their documents: numbered, chosen, weighted, predicted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from retune import stable_hash

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def codes(rows: pl.DataFrame) -> Integers:
    """The query of every row as a number from 0 on; one text in two groups is two queries."""
    numbers: Integers = rows.select(pl.struct("group", "query").rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    return numbers


def lists(rows: pl.DataFrame) -> list[Integers]:
    """The row numbers of each query, in the order of the rows, queries in the order of their first row."""
    numbers = codes(rows)
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []
    return sorted(parts, key=lambda part: int(part[0]))


def weights(rows: pl.DataFrame) -> Floats:
    """The weight of every row; 1 where none is given."""
    return rows["weight"].fill_null(1.0).to_numpy().astype(np.float64)


def relevance(rows: pl.DataFrame) -> Floats:
    """The relevance of every row."""
    return rows["relevance"].to_numpy().astype(np.float64)


def choose(rows: pl.DataFrame, limit: int | None, seed: int) -> pl.DataFrame:
    """Whole queries of at most `limit` rows together (but at least one query), chosen by a hash of seed and query."""
    if limit is None or len(rows) <= limit:
        return rows
    number = stable_hash.units(pl.concat_str("group", "query", separator="\x1f"), "rows", seed)
    rank = rows.select(number.rank("max")).to_series().to_numpy()  # rows up to the end of this query
    return rows.filter(pl.Series(rank <= max(limit, rank.min())))


def predictions(ids: pl.Series, scores: Floats, truncated: np.ndarray) -> pl.DataFrame:
    """Columns id, score (higher: more relevant, comparable within a query), truncated."""
    return pl.DataFrame(
        {
            "id": ids,
            "score": pl.Series(scores, dtype=pl.Float64),
            "truncated": pl.Series(truncated, dtype=pl.Boolean),
        }
    )
