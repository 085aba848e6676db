"""As many training rows of each label as wanted: some left out, or some repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from retune import stable_hash

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params


def balanced(rows: pl.LazyFrame, spec: Params, kind: Kind) -> list[pl.LazyFrame]:
    """The assigned `rows` without those of train that are too many, and a frame of copies of those that are too few.

    `spec.balance` is `undersample` (each label as often as the rarest), `oversample` (as the most frequent) or the most
    rows of a label. Which rows go or come again is decided by a hash of (seed, id), altered rows going first and coming
    last. A copy has the id "+copyN" and the origin "copy". Other splits stay as they are.
    """
    altered = pl.col("origin") != "original"
    train = (
        rows.filter(pl.col("split") == "train")
        .select("id", altered.alias("altered"), kind.binned().alias("target"))
        .collect(engine="streaming")
        .with_columns(number=stable_hash.units(pl.col("id"), "balance", spec.seed))
        .sort("target", "altered", "number", "id")
        .with_columns(place=pl.int_range(pl.len()).over("target"), count=pl.len().over("target"))
    )
    sizes: list[int] = train["count"].to_list()
    if spec.balance == "oversample":
        table = _copies(train, max(sizes, default=0))
        copies = rows.join(table.lazy(), on="id", maintain_order="right_left").with_columns(
            pl.concat_str("id", pl.lit("+copy"), "copy").alias("id"), pl.lit("copy").alias("origin")
        )
        return [rows, copies.drop("copy")]
    most = min(sizes, default=0) if spec.balance == "undersample" else spec.balance
    gone = train.filter(pl.col("place") >= most)["id"]
    return [rows.filter(~pl.col("id").is_in(gone.implode()))]


def _copies(train: pl.DataFrame, wanted: int) -> pl.DataFrame:
    """Ids of train and the numbers of their copies, until each label has `wanted` rows: all once, then all again."""
    missing = wanted - pl.col("count")
    again = (missing - pl.col("place") + pl.col("count") - 1) // pl.col("count")
    table = train.with_columns(copy=pl.int_ranges(1, pl.max_horizontal(again, 0) + 1))
    return table.filter(pl.col("copy").list.len() > 0).explode("copy").select("id", "copy").sort("id", "copy")
