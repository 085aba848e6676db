"""The labels that the files of a source have, for a task that does not name them yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import files_of, mapped_file
from retune.data.convert.absent_fields import Found
from retune.data.kinds import classification


def labels(tables: Iterable[dict[str, Any]], raw: Path, scratch: Path) -> list[str]:
    """The different labels of the good rows of all tables, sorted (numbers by value): no order of rows counts."""
    import dataframely as dy

    class Rows(dy.Schema):
        id = dy.String(primary_key=True)
        group = dy.String()
        split = dy.String(nullable=True)
        text = dy.String()
        label = dy.String()

    found: set[str] = set()
    for t, table in enumerate(tables):
        absent = Found()
        for f, file in enumerate(files_of(table["file"], raw)):
            path = mapped_file(table, file, raw, classification, Rows, scratch / f"{t}-{f}", absent)
            rows = pl.scan_parquet(path, glob=False).filter(pl.col("$reason").is_null())
            if table.get("where") is not None:
                rows = rows.filter(~pl.col("$out"))
            found |= set(rows.select(pl.col("label").unique()).collect(engine="streaming").to_series())
        absent.stop(table["file"])
    return sorted(found, key=lambda label: (0, int(label), label) if label.isdecimal() else (1, 0, label))
