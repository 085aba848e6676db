"""What two splits have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import polars as pl


def shared(rows: pl.LazyFrame, columns: Sequence[str], splits: Sequence[str]) -> dict[str, int]:
    """How many distinct values of `columns` occur in both splits, for each two of `splits` ("train, test").

    Compares 64-bit hashes, so that texts larger than memory will do.
    """
    values = [rows.select(pl.col("split").cast(pl.String), value=pl.col(column).hash()) for column in columns]
    seen = pl.concat(values).unique().collect(engine="streaming")
    parts = {name: seen.filter(pl.col("split") == name)["value"] for name in splits}
    return {f"{a}, {b}": int(parts[a].is_in(parts[b].implode()).sum()) for a, b in combinations(splits, 2)}


def unordered(texts: Sequence[str | pl.Expr]) -> pl.Expr:
    """One text for the texts of a row, whatever their order."""
    return pl.concat_list(texts).list.sort().list.join("\x1f")
