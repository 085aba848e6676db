"""Which rows a model has learned from, as hashes beside its weights, and what today's training rows have of them.

Only a model with `training.warm_start` keeps them: its next version may start from it where it has seen no row that
today's training rows lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from retune import stable_hash

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind

FILE = "learned.parquet"

WRITTEN = ("reasoning", "reason", "weight")
"""What a model may learn of a row beside its target."""


@dataclass(frozen=True)
class Changes:
    """Original training rows then and now, each counted once: `changed` have another target now, `gone` none."""

    then: int
    kept: int
    added: int
    changed: int
    gone: int


def of(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """The columns text and answer, hashes, of all original rows, each once and in the order of the hashes."""
    answers = [kind.TARGET, *(name for name in WRITTEN if name in rows.columns and name != kind.TARGET)]
    original = rows.filter(pl.col("origin") == "original")
    return original.select(text=_hash(kind.TEXTS), answer=_hash(answers)).unique().sort("text", "answer")


def _hash(columns: tuple[str, ...] | list[str]) -> pl.Expr:
    filled = [pl.col(name).cast(pl.String).fill_null("\x1e") for name in columns]
    return stable_hash.digests(pl.concat_str(filled, separator="\x1f"))


def changes(then: pl.DataFrame, now: pl.DataFrame) -> Changes:
    """What became of the rows `then`; both as `of` gives them."""
    kept = then.join(now, on=["text", "answer"], how="semi").height
    lost = then.join(now, on=["text", "answer"], how="anti")
    changed = lost.join(now, on="text", how="semi").height
    return Changes(len(then), kept, len(now) - kept, changed, len(lost) - changed)


def write(rows: pl.DataFrame, folder: Path) -> None:
    """Put what `of` gives beside the model's weights."""
    rows.write_parquet(folder / FILE)


def read(folder: Path) -> pl.DataFrame | None:
    """What `write` wrote; None of a model that keeps nothing of its rows."""
    file = folder / FILE
    return pl.read_parquet(file) if file.is_file() else None
