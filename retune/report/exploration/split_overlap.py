"""Rows that come twice: the same or nearly the same texts in two splits, and the same texts with different targets."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import polars as pl

from retune.data import near_duplicates
from retune.data.shared_texts import unordered

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind

SHOWN = 10  # examples of each sort


def of(parts: dict[str, pl.DataFrame], kind: Kind) -> dict[str, Any]:
    """`repeated`, `conflicts` and `alike` of the rows looked at, by normalised texts.

    A row is like another if each of its texts is (`similar.ALIKE`); for a kind whose texts may change places, in either
    order. `alike` counts, for each two splits ("train, test"), the rows of the second whose texts are the `same` as
    those of a row of the first, and those whose nearest is only `near`; `other_target` are those of both whose like has
    another target. Equal texts are counted as rows, so a row with two likes counts once.
    """
    plain = [f"plain_{i}" for i in range(len(kind.TEXTS))]
    key = unordered(plain) if kind.SYMMETRIC else pl.concat_str(plain, separator="\x1f")
    rows = {name: part.with_columns(key.alias("key"), number=pl.int_range(pl.len())) for name, part in parts.items()}
    pairs = near_duplicates.numbered(
        sorted({text for part in rows.values() for column in plain for text in part[column]})
    )
    found, examples = {}, []
    for a, b in combinations(rows, 2):
        alike = _nearest(rows[a], rows[b], plain, pairs, kind)
        near = alike.filter(pl.col("jaccard") < 2)
        found[f"{a}, {b}"] = {
            "rows": rows[b].height,
            "same": alike.height - near.height,
            "near": near.height,
            "other_target": int(alike["differs"].sum()),
        }
        examples += [_example(entry, a, b, rows, kind) for entry in near.head(SHOWN).to_dicts()]
    examples.sort(key=lambda e: ("test" not in e["splits"], "train" not in e["splits"]))
    originals = {name: part.filter(pl.col("origin") == "original")["key"] for name, part in rows.items()}
    return {
        "repeated": {name: int(keys.is_duplicated().sum()) for name, keys in originals.items()},
        "conflicts": _conflicts(pl.concat(list(rows.values())), kind),
        "alike": found,
        "examples": examples[:SHOWN],
    }


def _nearest(
    first: pl.DataFrame, second: pl.DataFrame, plain: list[str], pairs: dict[str, near_duplicates.Pairs], kind: Kind
) -> pl.DataFrame:
    """For each row of `second` that is like one of `first`: both numbers, `jaccard`, and whether the target `differs`.

    `jaccard` is the least of a row's texts, 2 for texts that are the same. Of several likes the nearest counts, among
    equals one with another target, then the first. Sorted: other targets first, then the nearest.
    """
    orders = [plain, plain[::-1]] if kind.SYMMETRIC else [plain]
    if kind.SYMMETRIC:
        matches = dict.fromkeys(plain, _matches(first, second, plain, pairs))
    else:
        matches = {column: _matches(first, second, [column], pairs) for column in plain}
    likes = []
    for order in orders:
        rows: pl.DataFrame | None = None
        for theirs, ours in zip(order, plain, strict=True):
            side = matches[ours]
            there = first.select(pl.col("number").alias("number_first"), pl.col(theirs).alias("text_first"))
            here = second.select("number", pl.col(ours).alias("text"))
            if rows is not None:
                here = here.join(rows.select("number").unique(), on="number", how="semi")
                there = there.join(rows.select("number_first").unique(), on="number_first", how="semi")
            side = here.join(side, on="text").join(there, on="text_first").select("number", "number_first", "jaccard")
            if rows is not None:
                side = rows.join(side, on=["number", "number_first"], suffix="_2").select(
                    "number", "number_first", pl.min_horizontal("jaccard", "jaccard_2").alias("jaccard")
                )
            rows = side
        assert rows is not None
        likes.append(rows)
    target = kind.TARGET
    every = (
        pl.concat(likes)
        .join(second.select("number", pl.col(target).alias("target")), on="number")
        .join(first.select(number_first="number", target_first=target), on="number_first")
        .with_columns(differs=pl.col("target") != pl.col("target_first"))
    )
    order_by = [pl.col("jaccard"), pl.col("differs"), -pl.col("number_first")]
    best = every.sort(order_by, descending=True).unique("number", keep="first", maintain_order=True)
    return best.sort(["differs", "jaccard", "number"], descending=[True, True, False])


def _matches(
    first: pl.DataFrame, second: pl.DataFrame, columns: list[str], pairs: dict[str, near_duplicates.Pairs]
) -> pl.DataFrame:
    """Texts of `second` that are like a text of `first`, with their Jaccard index; 2 for the same text."""
    here, there = ({text: pairs[text] for column in columns for text in side[column]} for side in (second, first))
    schema = {"text": pl.String, "text_first": pl.String, "jaccard": pl.Float64}
    table = pl.DataFrame(near_duplicates.join(here, there), schema=schema, orient="row")
    same = pl.col("text") == pl.col("text_first")
    return table.with_columns(jaccard=pl.when(same).then(2.0).otherwise("jaccard"))


def _example(entry: dict[str, Any], a: str, b: str, rows: dict[str, pl.DataFrame], kind: Kind) -> dict[str, Any]:
    sides = [rows[a].row(entry["number_first"], named=True), rows[b].row(entry["number"], named=True)]
    return {
        "splits": [a, b],
        "jaccard": round(entry["jaccard"], 3),
        "rows": [_shown(side, kind) for side in sides],
    }


def _conflicts(rows: pl.DataFrame, kind: Kind) -> dict[str, Any]:
    """Texts that stand with more than one target, in one split or in several: how many, their rows, and examples."""
    counts = rows.group_by("key", maintain_order=True).agg(pl.col(kind.TARGET).n_unique().alias("targets"), pl.len())
    found = counts.filter(pl.col("targets") > 1)
    keys = found["key"].head(SHOWN).to_list()
    shown = rows.filter(pl.col("key").is_in(keys))
    return {
        "texts": found.height,
        "rows": int(found["len"].sum()),
        "examples": [[_shown(row, kind) for row in shown.filter(key=key).head(4).to_dicts()] for key in keys],
    }


def _shown(row: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """The texts of a row and its target as text."""
    return {"texts": [row[column] for column in kind.TEXTS], "target": str(row[kind.TARGET])}
