"""CSV and TSV, record by record.

Python's tokeniser and not polars': polars 2.1 refuses a file with a quote inside an unquoted field (`5" disk,1`), fills
a short row with nulls, and counts records where a reject has to name a line.
"""

from __future__ import annotations

import csv
import itertools
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from retune.data.convert import open_quotes
from retune.errors import RetuneError

log = logging.getLogger("retune")

BATCH = 1 << 24
"""Characters per frame."""

ROW = 50
"""Characters that a row counts for beside its own."""

FIELD_LIMIT = 1 << 24
"""Characters of a field."""

LONGEST = 1000
"""Lines of a record; a longer one is taken for a quote that never closes."""

SEPARATORS = (",", ";", "\t", "|")
"""What spreadsheets put between fields; `;` where the comma is the decimal sign."""

LOOKED_AT = 20
"""Lines that show which separator a file has."""

SEP_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""A first line that tells Excel the separator."""


@dataclass(frozen=True)
class Dialect:
    """How the fields of a file stand in its lines, and how many lines stand before the header."""

    separator: str
    quoted: bool
    before: int = 0


class _NeverCloses(Exception):
    """A quoted field goes on for too many lines."""


def dialect(
    path: Path, codec: str, separator: str | None, usual: str, quoted: bool, given: list[str] | None
) -> Dialect:
    """The dialect of a file: `separator` where that is said, else what its first line shows, else the `usual` one.

    A first line `sep=;` counts. Where the first line has no usual separator and another one, as a later line has, that
    is taken and told. `given` are the names of the fields of a file without a header.
    """
    with path.open(encoding=codec, newline="") as stream:
        first, *more = (line.rstrip("\r\n") for line in itertools.islice(itertools.chain(stream, [""]), LOOKED_AT))
    if said := SEP_LINE.fullmatch(first.strip("\r\n ")):
        return Dialect(separator or said[1], quoted, 1)
    if separator is None and usual not in first:
        least = max(len(given or ()) - 1, 1)
        counts = {other: first.count(other) for other in SEPARATORS if any(other in line for line in more)}
        best = max(counts, key=counts.__getitem__, default="")
        if best and counts[best] >= least:
            log.info(
                "%s: its fields are separated by `%s`; its first line has no `%s`", path, _name(best), _name(usual)
            )
            return Dialect(best, quoted)
    return Dialect(separator or usual, quoted)


def header(path: Path, codec: str, how: Dialect) -> list[str]:
    """The field names in the first line; raises `RetuneError` where it is empty, broken, or names a field twice."""
    lines = _Lines(path, codec)
    line = how.before + 1
    with lines.stream:
        lines.skip(how.before)
        try:
            names = next(_reader(lines, how), [])
        except (csv.Error, _NeverCloses) as error:
            said = "a quote opens in it and never closes" if _is_open(error) else f"broken quotes ({error})"
            raise RetuneError(f"{path}:{line}: the header line can't be read: {said}; mend it") from None
    if open_quotes.swallowed(lines.taken, how.separator, len(names), None):
        last = line + len(lines.taken) - 1
        raise RetuneError(f"{path}:{line}: a quote opens in the header line and closes in line {last} only; mend it")
    names = [name.strip() for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        what = f"names `{twice[0]}` twice" if twice else "is empty"
        raise RetuneError(f"{path}:{line}: the header line {what}; mend it, or list the names as `fields` of the table")
    return names


def batches(
    path: Path, codec: str, how: Dialect, fields: list[str], skip_header: bool, size: int = BATCH
) -> Iterator[pl.DataFrame]:
    """Frames of `$line` (the record's first), `$broken` (a reason or null), `$row` (a broken record's text), fields."""
    schema = {"$line": pl.Int64, "$broken": pl.String, "$row": pl.String, **dict.fromkeys(fields, pl.String)}
    rows: list[tuple[object, ...]] = []
    held = 0
    nothing = (None,) * len(fields)
    for line, broken, record in records(path, codec, how, len(fields), skip_header):
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
    path: Path, codec: str, how: Dialect, width: int, skip_header: bool
) -> Iterator[tuple[int, str | None, list[str]]]:
    """(first line, None, fields), or (first line, reason, [raw text]) for a broken record; blank lines are skipped.

    A record with a wrong number of fields is broken. Where a quote never closes, or swallowed lines that are records by
    themselves, the line where it opens is broken, and the lines behind it are read.
    """
    csv.field_size_limit(FIELD_LIMIT)
    lines = _Lines(path, codec)
    with lines.stream:
        lines.skip(how.before)
        line = how.before + 1
        reader = _reader(lines, how)
        if skip_header:
            next(reader, None)
            line += len(lines.taken)
        while True:
            lines.taken.clear()
            try:
                record, broken = next(reader), None
            except StopIteration:
                return
            except (csv.Error, _NeverCloses) as error:
                record, broken = [], _reason(error)
            if record and len(record) != width:
                broken = f"{len(record)} fields instead of {width}"
            if len(lines.taken) > 1 and (alone := _alone(lines, how, width, record, broken, line)):
                broken = alone
                lines.give_back()
                reader = _reader(lines, how)
            if broken:
                yield line, broken, ["".join(lines.taken).rstrip("\r\n")]
            elif record:
                yield line, None, record
            line += len(lines.taken)


def _alone(lines: _Lines, how: Dialect, width: int, record: list[str], broken: str | None, line: int) -> str | None:
    """Why the first of the lines that a record took is broken for itself; None where they belong together."""
    if broken == OPEN:
        return broken
    if not open_quotes.swallowed(lines.taken, how.separator, width, None if broken else record):
        return None
    last = line + len(lines.taken) - 1
    return f"a quote opens here and closes in line {last} only, but the lines between are records of their own"


OPEN = (
    "a quoted field opens in this record and never closes; "
    "close it, or say `quoted: false` if quotes are plain characters in this file"
)


def _is_open(error: Exception) -> bool:
    return isinstance(error, _NeverCloses) or "end of data" in str(error) or "field limit" in str(error)


def _reason(error: Exception) -> str:
    return OPEN if _is_open(error) else f"broken quotes, {error}".replace('"', "'")


class _Lines:
    """The physical lines of a file; `taken` are those of the record that is read."""

    def __init__(self, path: Path, codec: str) -> None:
        self.stream = path.open(encoding=codec, newline="")
        self.taken: list[str] = []
        self.again: list[str] = []  # to be read anew, the last one first

    def skip(self, count: int) -> None:
        for _ in range(count):
            next(self.stream, None)

    def give_back(self) -> None:
        """Have all lines but the first of the record read anew."""
        self.again += reversed(self.taken[1:])
        del self.taken[1:]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.taken) == LONGEST:
            raise _NeverCloses
        line = self.again.pop() if self.again else next(self.stream)
        self.taken.append(line)
        return line


def _reader(lines: Iterator[str], how: Dialect) -> Iterator[list[str]]:
    if not how.quoted:
        return csv.reader(lines, delimiter=how.separator, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=how.separator, strict=True)


def _name(separator: str) -> str:
    return "tab" if separator == "\t" else separator
