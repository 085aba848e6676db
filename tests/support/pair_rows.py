"""Converted rows of kind pair, before and after they got their origin, and how they are split."""

from __future__ import annotations

import polars as pl

from retune.params import Params

SCHEMA = {
    "id": pl.String,
    "group": pl.String,
    "split": pl.Enum(["train", "dev", "calibration", "test"]),
    "text_a": pl.String,
    "text_b": pl.String,
    "label": pl.Int8,
    "reasoning": pl.String,
}
SPEC = Params({"dev": 0.1, "calibration": 0.15, "test": 0.25, "seed": 0, "balance": "none"})


def frame(*rows: tuple) -> pl.LazyFrame:
    """Rows of (id, group, split, text_a, text_b, label)."""
    return pl.LazyFrame([(*row, None) for row in rows], schema=SCHEMA, orient="row")


def original(*rows: tuple, origin: str = "original") -> pl.LazyFrame:
    return frame(*rows).with_columns(pl.lit(origin).alias("origin"))


def numbered(numbers, groups: int = 500, split=None) -> pl.LazyFrame:
    return original(*((f"i{n}", f"g{n % groups}", split, f"a{n}", f"b{n}", n % 3 % 2) for n in numbers))
