"""CSV and TSV, record by record.

Python's tokeniser and not polars': polars 2.1 refuses a file with a quote inside an unquoted field (`5" disk,1`), fills
a short row with nulls, and counts records where a reject has to name a line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from retune.errors import RetuneError

BATCH = 1 << 24
"""Characters per frame."""

ROW = 50
"""Characters that a row counts for beside its own."""

FIELD_LIMIT = 1 << 24
"""Characters; a longer field is taken for a quote that never closes."""


def header(path: Path, codec: str, separator: str, quoted: bool) -> list[str]:
    """The field names in the first line; raises `RetuneError` where it is empty or names a field twice."""
    with path.open(encoding=codec, newline="") as stream:
        names = next(_reader(stream, separator, quoted), [])
    names = [name.strip() for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        what = f"names `{twice[0]}` twice" if twice else "is empty"
        raise RetuneError(f"{path}:1: the header line {what}; mend it, or list the names as `fields` of the table")
    return names


def batches(
    path: Path, codec: str, separator: str, quoted: bool, fields: list[str], skip_header: bool, size: int = BATCH
) -> Iterator[pl.DataFrame]:
    """Frames of `$line` (the record's first), `$broken` (a reason or null), `$row` (text of a broken record), fields.

    A record with a wrong number of fields is broken; a quote that never closes raises `RetuneError`.
    """
    schema = {"$line": pl.Int64, "$broken": pl.String, "$row": pl.String, **dict.fromkeys(fields, pl.String)}
    rows: list[tuple[object, ...]] = []
    held = 0
    nothing = (None,) * len(fields)
    for line, broken, record in records(path, codec, separator, quoted, len(fields), skip_header):
        if broken is None:
            rows.append((line, None, None, *record))
        else:
            rows.append((line, broken, record[0], *nothing))
        held += sum(map(len, record)) + ROW
        if held > size:
            yield pl.DataFrame(rows, schema=schema, orient="row")
            rows, held = [], 0
    yield pl.DataFrame(rows, schema=schema, orient="row")


def records(
    path: Path, codec: str, separator: str, quoted: bool, width: int, skip_header: bool
) -> Iterator[tuple[int, str | None, list[str]]]:
    """(first line, None, fields), or (first line, reason, [raw text]) for a broken record; blank lines are skipped."""
    csv.field_size_limit(FIELD_LIMIT)
    taken: list[str] = []
    with path.open(encoding=codec, newline="") as stream:
        reader = _reader(_remember(stream, taken), separator, quoted)
        line = 1
        while True:
            broken = None
            taken.clear()
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "end of data" in str(error) or "field limit" in str(error):
                    raise RetuneError(
                        f"{path}:{line}: a quoted field opens in this record and never closes; "
                        "close it, or say `quoted: false` if quotes are plain characters in this file"
                    ) from None
                record, broken = [], f"broken quotes, {error}".replace('"', "'")
            if skip_header and line == 1:
                record = []
            elif record and len(record) != width:
                broken = f"{len(record)} fields instead of {width}"
            if broken:
                yield line, broken, ["".join(taken).rstrip("\r\n")]
            elif record:
                yield line, None, record
            line += len(taken)


def _remember(lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def _reader(lines: Iterator[str], separator: str, quoted: bool) -> Iterator[list[str]]:
    if not quoted:
        return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=separator, strict=True)
