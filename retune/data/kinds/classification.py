"""Kind `classification`: which of the task's labels does a text have? Columns text, label (one of `labels`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from retune.data.kinds.texts import normalised

if TYPE_CHECKING:
    import dataframely as dy

    from retune.params import Params

TEXTS = ("text",)
IDENTIFYING = ("text",)
TARGET = "label"
UNIT = "id"
SYMMETRIC = False
LEARNERS = ("linear", "encoder", "llm", "api")
WITHOUT = {
    "augmentation": ("swap", "transitive"),
    "calibration": ("threshold", "cost_false_positive", "cost_false_negative", "estimate"),
    "evaluation": ("bins", "terms"),
}
DEV_METRICS = ("loss", "macro_f1", "accuracy")
SELECT = "macro_f1"
PRIMARY = "macro_f1"


def schema(spec: Params) -> type[dy.Schema]:
    """What a converted row must be; its label is one of `spec.labels`."""
    import dataframely as dy

    class Rows(dy.Schema):
        id = dy.String(primary_key=True)
        group = dy.String()
        split = dy.Enum(["train", "dev", "calibration", "test"], nullable=True)
        text = dy.String(min_length=1)
        label = dy.Enum(spec.labels)

    return Rows


def default_group() -> pl.Expr:
    """The group of a row that names none: its normalised text."""
    return normalised("text")


def binned() -> pl.Expr:
    """The label as text."""
    return pl.col("label").cast(pl.String)


def shortage(targets: dict[str, int]) -> str | None:
    """Nothing can be measured on one label."""
    return None if len(targets) >= 2 else f"all with label {next(iter(targets))}"
