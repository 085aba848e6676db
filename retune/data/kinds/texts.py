"""Texts of rows, compared without what makes no difference to a reader."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def normalised(column: str) -> pl.Expr:
    """A text without differences of width, case and white space."""
    return pl.col(column).str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", "")


def written(rows: pl.LazyFrame, columns: Sequence[str]) -> list[str]:
    """Those of the columns that hold texts of their own, not one of a few names (an Enum, such as a dimension)."""
    schema = rows.collect_schema()
    return [column for column in columns if schema[column] == pl.String]
