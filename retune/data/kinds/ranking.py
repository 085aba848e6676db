"""Kind `ranking`: which documents answer a query? Columns query, document, relevance (0 to 1), weight or null (1.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from retune.data.kinds.texts import normalised

if TYPE_CHECKING:
    import dataframely as dy

    from retune.params import Params

TEXTS = ("query", "document")
IDENTIFYING = ("query",)
TARGET = "relevance"
SYMMETRIC = False
UNIT = "group"
LABELS = ("0", "1")
LEARNERS = ("linear", "encoder", "embedder", "llm")
WITHOUT = {"augmentation": None, "calibration": None, "split": ("balance",), "evaluation": ("bins", "terms")}
DEV_METRICS = ("loss", "ndcg", "spearman")
SELECT = "ndcg"
PRIMARY = "ndcg@10"


def schema(spec: Params) -> type[dy.Schema]:
    """What a converted row must be; graded judgements are mapped to 0-1 by the value map of the catalog."""
    import dataframely as dy

    class Rows(dy.Schema):
        id = dy.String(primary_key=True)
        group = dy.String()
        split = dy.Enum(["train", "dev", "calibration", "test"], nullable=True)
        query = dy.String(min_length=1)
        document = dy.String(min_length=1)
        relevance = dy.Float64(min=0, max=1)
        weight = dy.Float64(min_exclusive=0, nullable=True)

    return Rows


def default_group() -> pl.Expr:
    """The group of a row that names none: its normalised query, so that the rows of one query stay together."""
    return normalised("query")


def binned() -> pl.Expr:
    """The relevance, rounded to one decimal, as text."""
    return pl.col("relevance").round(1).cast(pl.String)


def shortage(targets: dict[str, int]) -> str | None:
    """Documents of one relevance have no order."""
    return None if len(targets) >= 2 else f"all of relevance {next(iter(targets))}"
