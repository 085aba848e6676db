"""Kind `scoring`: which score has a document in a dimension? Columns document, dimension, score, reasoning, reason.

A row is a document under one of the task's `dimensions`, with a whole number of its `scores` (lowest, highest); so one
model serves all dimensions. `reasoning` is what is thought before the score, `reason` what is said for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from retune.data.kinds.texts import normalised

if TYPE_CHECKING:
    import dataframely as dy

    from retune.params import Params

TEXTS = ("document", "dimension")
IDENTIFYING = ("document",)
TARGET = "score"
UNIT = "id"
SYMMETRIC = False
LEARNERS = ("linear", "llm")
WITHOUT = {
    "augmentation": None,  # an altered figure would belie the score and the reasons for it
    "calibration": ("threshold", "cost_false_positive", "cost_false_negative"),
}
DEV_METRICS = ("loss", "mae", "spearman")
SELECT = "mae"
PRIMARY = "mae"


def schema(spec: Params) -> type[dy.Schema]:
    """What a converted row must be; its dimension is one of `spec.dimensions`, its score between the two `scores`."""
    import dataframely as dy

    lowest, highest = spec.scores

    class Rows(dy.Schema):
        id = dy.String(primary_key=True)
        group = dy.String()
        split = dy.Enum(["train", "dev", "calibration", "test"], nullable=True)
        document = dy.String(min_length=1)
        dimension = dy.Enum(list(spec.dimensions))
        score = dy.Int16(min=lowest, max=highest)
        reasoning = dy.String(nullable=True)
        reason = dy.String(nullable=True)

    return Rows


def default_group() -> pl.Expr:
    """The group of a row that names none: its normalised document, so that all its dimensions stay together."""
    return normalised("document")


def binned() -> pl.Expr:
    """`dimension:score`, so that the counts of a split show each dimension's distribution."""
    return pl.concat_str(pl.col("dimension").cast(pl.String), pl.col("score").cast(pl.String), separator=":")


def shortage(targets: dict[str, int]) -> str | None:
    """Nothing can be measured on one score."""
    scores = {target.rpartition(":")[2] for target in targets}
    return None if len(scores) >= 2 else f"all with score {scores.pop()}"
