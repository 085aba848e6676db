"""Texts of rows, compared without what makes no difference to a reader."""

from __future__ import annotations

import polars as pl


def normalised(column: str) -> pl.Expr:
    """A text without differences of width, case and white space."""
    return pl.col(column).str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", "")
