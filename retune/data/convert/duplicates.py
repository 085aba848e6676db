"""Rows that occur twice: exact duplicates, repeated ids, and the same texts under different labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from retune.data.convert.row_schema import ORIGIN, Rows
from retune.data.shared_texts import unordered

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind

MEASURED = ("dev", "calibration", "test")
"""Official splits that keep their duplicates."""


@dataclass(frozen=True)
class Plan:
    """Valid rows to leave out, by `$index`: duplicates, and those whose id an earlier row has (they are rejected).

    `renamed` are duplicates that stay, `$index` and the `id` that tells them from the first: those of an official split
    that is measured, whose published figures count them. `conflicts` are rows to keep and list: `$index` and `texts`, a
    number that rows with the same texts share.
    """

    duplicates: pl.Series
    repeated: pl.Series
    renamed: pl.DataFrame
    conflicts: pl.DataFrame


def plan(rows: Rows, kind: Kind) -> Plan:
    """Find duplicates, repeated ids and conflicts; holds ids and hashes of all rows in memory, and no text."""
    texts = unordered(kind.TEXTS).hash().alias("texts")
    measured = pl.col("split").cast(pl.String).is_in(MEASURED).fill_null(False)
    keys = rows.valid.select("$index", "$key", "id", measured, texts, kind.TARGET).collect(engine="streaming")
    number = pl.int_range(1, pl.len() + 1).over("$key")
    keys = keys.with_columns(number.alias("number"))
    other = (pl.col("id") == pl.col("$key")) | pl.col("id").is_first_distinct()  # a given id twice is one row twice
    kept = (pl.col("number") == 1) | (pl.col("split") & other)
    duplicates = keys.filter(~kept)["$index"]
    keys = keys.filter(kept)
    unnamed = (pl.col("number") > 1) & (pl.col("id") == pl.col("$key"))
    named = pl.concat_str("id", pl.lit("-"), "number")
    renamed = keys.filter(unnamed).select("$index", named.alias("id"))
    keys = keys.with_columns(pl.when(unnamed).then(named).otherwise("id").alias("id")).drop("$key", "split", "number")
    first = pl.col("id").is_first_distinct()
    repeated = keys.filter(~first)["$index"]
    keys = keys.filter(first).drop("id")
    conflicts = keys.filter(pl.col(kind.TARGET).n_unique().over("texts") > 1)
    return Plan(duplicates, repeated, renamed, conflicts.select("$index", "texts"))


def kept(rows: Rows, plan: Plan) -> pl.LazyFrame:
    """The valid rows without duplicates and repeated ids, in their order."""
    out = pl.concat([plan.duplicates, plan.repeated]).implode()
    found = rows.valid.filter(~pl.col("$index").is_in(out))
    if plan.renamed.is_empty():
        return found
    new = pl.col("$index").replace_strict(plan.renamed["$index"], plan.renamed["id"], default=None)
    return found.with_columns(pl.coalesce(new, "id").alias("id"))


def rejected(rows: Rows, plan: Plan) -> pl.LazyFrame:
    """All rejected rows with `$reason` and `$rule`, the reason without the value, for counting."""
    again = rows.valid.filter(pl.col("$index").is_in(plan.repeated.implode()))
    reason = pl.concat_str(pl.lit('`id` occurs in an earlier row: "'), "id", pl.lit('"')).alias("$reason")
    every = pl.concat([rows.rejected, again.select(*ORIGIN, reason)])
    return every.with_columns(pl.col("$reason").str.replace_all(r': "[^"]*"', "").alias("$rule"))


def write_conflicts(rows: Rows, plan: Plan, kind: Kind, path: Path) -> None:
    """Write one line for each set of texts with several labels: the texts, and its rows."""
    names = list(kind.TEXTS)
    found = rows.valid.filter(pl.col("$index").is_in(plan.conflicts["$index"].implode()))
    found = found.select("$index", *names, kind.TARGET, "id", "split", file="$file", line="$line")
    frame = found.collect(engine="streaming").join(plan.conflicts, on="$index", maintain_order="left")
    with path.open("w", encoding="utf-8") as stream:
        for _, group in frame.group_by("texts", maintain_order=True):
            where = group.select("id", kind.TARGET, "split", "file", "line").to_dicts()
            line = {**group.select(names).row(0, named=True), "rows": where}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
