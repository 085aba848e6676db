"""Kind `pair`: do two texts mean the same? Columns text_a, text_b, label (1 the same, 0 not), reasoning or null.

With `reasoning: true` a row must have the reasoning for its label, unless its source keeps it out of the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from retune.data.kinds.texts import normalised

if TYPE_CHECKING:
    import dataframely as dy

    from retune.params import Params

TEXTS = ("text_a", "text_b")
IDENTIFYING = ("text_a", "text_b")
TARGET = "label"
UNIT = "id"
SYMMETRIC = True
WITHOUT = {"calibration": ("estimate",), "evaluation": ("bins",)}
LABELS = ("0", "1")
LEARNERS = ("linear", "encoder", "embedder", "llm", "api")
DEV_METRICS = ("loss", "auc", "f1", "accuracy")
SELECT = "auc"
PRIMARY = "f1"
NOT_TAUGHT = ("calibration", "test")
"""Official splits whose rows need no reasoning."""


def schema(spec: Params) -> type[dy.Schema]:
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

        if spec.get("reasoning", False):

            @dy.rule()
            def needs_reasoning(self) -> pl.Expr:
                return pl.col("reasoning").is_not_null() | pl.col("split").is_in(NOT_TAUGHT).fill_null(False)

    return Rows


def default_group() -> pl.Expr:
    """The group of a row that names none: the smaller of its normalised texts, so a pair and its swap stay together."""
    return pl.min_horizontal(normalised("text_a"), normalised("text_b"))


def binned() -> pl.Expr:
    """The label as text."""
    return pl.col("label").cast(pl.String)


def shortage(targets: dict[str, int]) -> str | None:
    """A threshold and an AUC need rows of both labels."""
    return None if len(targets) == 2 else f"all with label {next(iter(targets))}"
