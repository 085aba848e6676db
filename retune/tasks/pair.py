"""Kind `pair`: do two texts mean the same? Columns text_a, text_b, label (1 the same, 0 not), reasoning or null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import dataframely as dy

TEXTS = ("text_a", "text_b")
"""The columns that a model reads."""

LABELS = (0, 1)
PRIMARY = "f1"


def schema() -> type[dy.Schema]:
    """What a converted row must be."""
    import dataframely as dy  # only convert needs it, and it takes longer to import than a small stage to run

    class Rows(dy.Schema):
        id = dy.String(primary_key=True)
        group = dy.String()
        split = dy.Enum(["train", "dev", "calibration", "test"], nullable=True)
        text_a = dy.String(min_length=1)
        text_b = dy.String(min_length=1)
        label = dy.Int8(min=0, max=1)
        reasoning = dy.String(nullable=True)

    return Rows


def normalised(column: str) -> pl.Expr:
    """A text without differences of width, case and white space."""
    return pl.col(column).str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", "")


def default_group() -> pl.Expr:
    """The group of a row that names none: the smaller of its normalised texts, so a pair and its swap stay together."""
    return pl.min_horizontal(normalised(TEXTS[0]), normalised(TEXTS[1]))
