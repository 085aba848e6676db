"""Groups that shared texts connect: rows of one component must be in one split, or a model is measured on texts it saw.

A text connects all rows that hold it, normalised, in any of the columns that give a row away (`kind.IDENTIFYING`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from retune.data.kinds.texts import normalised

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind

LARGE = 0.1
"""Share of the rows above which a component goes to train as a whole: by chance it might become all of a small
split."""


@dataclass(frozen=True)
class Components:
    """`groups` maps `group` to `component`, the least of the groups that are connected with it.

    `large` are the components that only train can hold, `large_rows` their rows.
    """

    groups: pl.DataFrame
    large: list[str]
    large_rows: int


def components(rows: pl.LazyFrame, kind: Kind) -> Components:
    """The components of the groups of the original rows that no official split other than train holds.

    Holds the groups and a hash of each text in memory. It depends on all rows: a new row may join two components.
    """
    import numpy as np  # not at module level: a split by rows needs neither
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    free = rows.filter(
        (pl.col("origin") == "original") & (pl.col("split").is_null() | (pl.col("split").cast(pl.String) == "train"))
    )
    hashes = [normalised(name).hash().alias(f"text_{place}") for place, name in enumerate(kind.IDENTIFYING)]
    held = free.select("group", *hashes).collect(engine="streaming")
    group = held["group"].rank("dense").to_numpy() - 1
    names = held["group"].unique().sort()
    texts = pl.concat([held[f"text_{place}"].rename("text") for place in range(len(hashes))])
    text = texts.rank("dense").to_numpy() - 1
    both = np.concatenate([group] * len(hashes)).astype(np.int64), text.astype(np.int64) + len(names)
    size = len(names) + texts.n_unique()
    graph = coo_matrix((np.ones(len(texts), dtype=np.int8), both), shape=(size, size))
    numbers = pl.Series(connected_components(graph, directed=False)[1][: len(names)])
    found = pl.DataFrame({"group": names, "number": numbers}).with_columns(
        component=pl.col("group").min().over("number")
    )
    sizes = held.select("group").join(found, on="group").group_by("component").len()
    large = sizes.filter(pl.col("len") > LARGE * len(held)).sort("component")
    return Components(found.select("group", "component"), large["component"].to_list(), int(large["len"].sum()))


def regrouped(rows: pl.LazyFrame, found: Components) -> pl.LazyFrame:
    """The rows, each with its component as `group`."""
    order = rows.collect_schema().names()
    joined = rows.join(found.groups.lazy(), on="group", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("component", "group").alias("group")).select(order)
