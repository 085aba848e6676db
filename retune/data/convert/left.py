"""Records that a table's `where` leaves out: counted, told, and taken away before rows are checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from retune.errors import RetuneError

log = logging.getLogger("retune")


def out(table: dict[str, Any], mapped: Sequence[Path], names: Sequence[str]) -> dict[str, int]:
    """File -> how many of its records are left out; the mapped files are written anew without them and `$out`.

    Raises `RetuneError` where no record of the table is kept.
    """
    counts: dict[str, int] = {}
    every = 0
    for path, name in zip(mapped, names, strict=True):
        frame = pl.scan_parquet(path, glob=False)
        total, gone = frame.select(pl.len(), pl.col("$out").sum().alias("gone")).collect(engine="streaming").row(0)
        kept = path.with_name("kept.parquet")
        frame.filter(~pl.col("$out")).drop("$out").sink_parquet(kept, compression="lz4")
        kept.replace(path)
        counts[name] = int(gone)
        every += int(total)
        log.info("%s: `where` leaves out %s of %s records", name, f"{gone:,}", f"{total:,}")
    if every and sum(counts.values()) == every:
        raise RetuneError(f"`where` leaves out all {every:,} records of {table['file']}: `{table['where']}`")
    return counts
