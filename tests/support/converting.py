"""Run convert on small files, for tests of formats, mappings and rejects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import convert
from retune.params import loads
from retune.pipeline.schema.catalog import Table

PAIR = {"text_a": "a", "text_b": "b", "label": "y"}


@dataclass
class Converted:
    rows: pl.DataFrame
    summary: dict[str, Any]
    rejects: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]

    def triples(self) -> list[tuple[str, str, int]]:
        return self.rows.select("text_a", "text_b", "label").rows()


def run(folder: Path, *tables: dict[str, Any], max_rejects: float = 0.0) -> Converted:
    """Convert the files in `folder`/raw by tables as the catalog would give them."""
    resolved = [
        Table.model_validate({"columns": PAIR, **table}).model_dump(by_alias=True, exclude_none=True)
        for table in tables
    ]
    spec = {"kind": "pair", "source": "test", "tables": resolved, "max_rejects": max_rejects}
    out = folder / "out"
    out.mkdir(exist_ok=True)
    summary = convert(loads(json.dumps(spec)), folder / "raw", out, folder / "scratch", folder / "visible.jsonl")
    lines = {name: (out / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("rejects", "conflicts")}
    return Converted(
        pl.read_parquet(out / "rows.parquet"),
        summary,
        *([json.loads(line) for line in text.split("\n") if line] for text in lines.values()),
    )


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file in `folder`/raw."""
    file = folder / "raw" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file
