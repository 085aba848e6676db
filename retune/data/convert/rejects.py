"""The list of rejected rows, and the limit that stops a conversion."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from retune.data.convert import json_text
from retune.errors import RetuneError

SHOWN, LISTED = 3, 1000
"""Rejects that an error shows, and that are listed where the limit is passed."""


def write(rejected: pl.LazyFrame, path: Path, limit: int | None = None) -> None:
    """Write {file, line, reason, row} for every rejected row (or the first `limit`) as JSON lines, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = rejected.sort("$index") if limit is None else rejected.bottom_k(limit, by="$index").sort("$index")
    with path.open("w", encoding="utf-8") as stream:
        for batch in frame.collect_batches(maintain_order=True, engine="streaming"):
            for file, line, reason, row in batch.select("$file", "$line", "$reason", "$row").iter_rows():
                record = {"file": file, "line": line, "reason": _detailed(reason, row), "row": row}
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def stop_above(limit: float, rejected: pl.LazyFrame, counts: tuple[int, int], path: Path) -> None:
    """Raise `RetuneError` with the first reasons where `counts` (rejected, all) pass `limit`; rejects go to `path`."""
    bad, every = counts
    if every and bad <= limit * every and bad < every:
        path.unlink(missing_ok=True)
        return
    if not every:
        raise RetuneError("the files hold no record at all; see `tables` of the source in data/catalog.yaml")
    write(rejected, path, LISTED)
    with path.open(encoding="utf-8") as stream:
        first = [json.loads(line) for _, line in zip(range(SHOWN), stream, strict=False)]
    shown = "".join(f"\n  {reject['file']}:{reject['line']}: {reject['reason']}" for reject in first)
    share = f"{bad:,} of {every:,} rows are rejected ({bad / every:.2%}; max_rejects allows {limit:.2%})"
    raise RetuneError(
        f"{share if bad < every else f'all {every:,} rows are rejected'}: "
        f"mend the mapping or the data, or raise max_rejects. The first of them (more in {path}):{shown}"
    )


def _detailed(reason: str, row: str | None) -> str:
    """The reason, with the place of the error where JSON is broken."""
    if not reason.endswith("broken JSON") or row is None:
        return reason
    text = row if reason == "broken JSON" else row.rpartition("\n")[2]  # of a joined file
    return f"{reason} ({json_text.why_broken(text)})"
