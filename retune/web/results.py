"""Results to download: each under an address that nobody can guess, removed after an hour."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

KEPT = 3600.0
"""Seconds."""
LONGEST = 200
"""Results that are kept at a time; beyond that the oldest goes."""
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}


class Results:
    """The folder of the results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def keep(self, lines: str, stem: str, typed: bool) -> dict[str, str]:
        """Format -> address, below the page's, of JSON lines and of the same as CSV.

        Of `typed` texts a spreadsheet takes none for a formula; the CSV of a file is that of `retune predict`.
        """
        self._clear()
        token = secrets.token_urlsafe(24)
        place = self.folder / token
        place.mkdir(mode=0o700)
        (place / "jsonl").write_text(lines, encoding="utf-8")
        rows = table(lines)
        (place / "csv").write_text((_plain(rows) if typed else rows).write_csv(), encoding="utf-8")
        return {form: f"../results/{token}/{stem}.{form}" for form in TYPES}

    def find(self, token: str, form: str) -> bytes | None:
        """A result, if it is kept; the token is compared with names of the folder, never joined to a path."""
        self._clear()
        found = next((place for place in self.folder.iterdir() if secrets.compare_digest(place.name, token)), None)
        return (found / form).read_bytes() if found and form in TYPES else None

    def _clear(self) -> None:
        places = sorted(self.folder.iterdir(), key=lambda place: place.stat().st_mtime)
        late = time.time() - KEPT
        for number, place in enumerate(places):
            if place.stat().st_mtime < late or number < len(places) - LONGEST:
                for file in place.iterdir():
                    file.unlink()
                place.rmdir()


def table(lines: str) -> pl.DataFrame:
    """JSON lines as the table that they were."""
    return pl.read_ndjson(lines.encode(), infer_schema_length=None)


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """An apostrophe before what a spreadsheet would compute."""
    text = pl.col(pl.String)
    return rows.with_columns(pl.when(text.str.contains(r"^[=+\-@\t\r]")).then("'" + text).otherwise(text).name.keep())


def as_lines(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
