"""A JSON document with a list of records, read in blocks, so that it may be larger than memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import polars as pl

from retune.errors import RetuneError

BLOCK = 1 << 20
LIMIT = 1 << 26
"""Characters that one record may take."""

LITERAL = 16
"""An error at least so many characters before the end of what was read is no effect of the cut (`fals`, `\\u12`)."""

NUMBER = 3
"""A value that ends so near the end of what was read may be a number that goes on (`1|e+5`)."""

BATCH = 1 << 24
"""Characters per frame."""

DECODER = json.JSONDecoder(parse_int=str)  # Python limits the digits of a whole number
SPACE = " \t\r\n"


def layout(path: Path, codec: str, form: str) -> str:
    """What a file of `form` (json or jsonl) holds: `json`, a list; `jsonl`, a value a line; `concatenated`, objects.

    Objects are concatenated where one ends in the line in which the next begins, or goes over several lines.
    """
    with path.open(encoding=codec) as stream:
        lines = (line.strip() for line in stream if line.strip())
        first, second = next(lines, "")[:LIMIT], next(lines, "")
    try:
        value, end = DECODER.raw_decode(first)
    except json.JSONDecodeError as error:
        goes_on = error.pos >= len(first) or first in ("[", "{")
        if first.startswith("["):
            return "json" if goes_on or form == "json" else "jsonl"
        several = first.startswith("{") and goes_on and not second.startswith("{")
        return "concatenated" if several and (form == "jsonl" or _another(path, codec)) else form
    except (ValueError, RecursionError):
        return form
    if first.startswith("{"):
        if first[end:].lstrip().startswith("{"):
            return "concatenated"
        return "jsonl" if second.startswith("{") and end == len(first) else form
    return "json" if isinstance(value, list) and not second and any(isinstance(one, dict) for one in value) else form


def _another(path: Path, codec: str) -> bool:
    """Whether another object follows the first one of a document."""
    reader = Reader(path, codec)
    with reader.stream:
        try:
            reader._value()
            return reader._peek() == "{"
        except RetuneError:
            return False


def batches(
    path: Path, codec: str, records: str | None, concatenated: bool = False, size: int = BATCH
) -> Iterator[pl.DataFrame]:
    """Frames of `$line` (where the record begins, or its number in a file of few lines) and `$row` (its text)."""
    schema = {"$line": pl.Int64, "$row": pl.String}
    rows: list[tuple[int, str]] = []
    held = 0
    reader = Reader(path, codec)
    for line, text in _placed(reader.concatenated() if concatenated else reader.records(records)):
        rows.append((line, text))
        held += len(text)
        if held > size:
            yield pl.DataFrame(rows, schema=schema, orient="row")
            rows, held = [], 0
    yield pl.DataFrame(rows, schema=schema, orient="row")


def _placed(records: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """(line, text), or (number, text) where the first two records begin in one line, which then says nothing."""
    first = list(itertools.islice(records, 2))
    shared = len(first) == 2 and first[0][0] == first[1][0]
    for number, (line, text) in enumerate(itertools.chain(first, records), start=1):
        yield number if shared else line, text


class Reader:
    """A cursor over the text of a JSON file that holds one value and a block in memory."""

    def __init__(self, path: Path, codec: str, block: int = BLOCK) -> None:
        self.path, self.block = path, block
        self.stream = path.open(encoding=codec, newline="")
        self.text, self.at, self.line = "", 0, 1

    def records(self, records: str | None) -> Iterator[tuple[int, str]]:
        """(line, text) of every entry of the list at the dotted path `records`, or of the document itself.

        Raises `RetuneError` for broken JSON, with the line, and where there is no list at the path.
        """
        with self.stream:
            for key in records.split(".") if records else []:
                self._enter(key, records or "")
            if self._peek() != "[":
                if not records and self._peek() == "{" and self._value() and self._peek() == ",":
                    self._fail("objects with commas between them and no `[` before the first one")
                where = f"at `{records}`" if records else "at the top; give `records`, the dotted path to the list"
                raise RetuneError(f"{self.path}:{self.line}: no list {where}")
            self._skip()
            while self._peek() != "]":
                line = self.line
                yield line, self._value()
                if self._peek() == ",":
                    self._skip()
                    if self._peek() == "]":
                        self._fail("a comma before the end of the list")
                elif self._peek() != "]":
                    self._fail("`,` or `]` is missing after a record")
            self._skip()
            if not records and self._peek():
                self._fail("more text after the end of the list")

    def concatenated(self) -> Iterator[tuple[int, str]]:
        """(line, text) of every value of a file that holds one behind another; raises as `records` does."""
        with self.stream:
            while self._peek():
                line = self.line
                yield line, self._value()

    def _enter(self, key: str, records: str) -> None:
        """Go to the value of `key` in the object at the cursor."""
        if self._peek() != "{":
            raise RetuneError(
                f"{self.path}:{self.line}: no object with `{key}` here; `records: {records}` does not fit"
            )
        self._skip()
        while self._peek() != "}":
            text = self._value()
            name = json.loads(text) if text.startswith('"') else self._fail("a key is no text")
            if self._peek() != ":":
                self._fail("`:` is missing after a key")
            self._skip()
            if name == key:
                return
            self._value()
            if self._peek() == ",":
                self._skip()
        raise RetuneError(f"{self.path}: no `{key}`; `records: {records}` does not fit")

    def _peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in SPACE:
                self.line += self.text[self.at] == "\n"
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def _skip(self) -> None:
        self.at += 1

    def _value(self) -> str:
        """The text of the value at the cursor, which moves behind it."""
        self._peek()
        while True:
            try:
                _, end = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos > len(self.text) - LITERAL
                if not cut or len(self.text) - self.at > LIMIT or not self._more(len(self.text) - self.at):
                    self.line += self.text.count("\n", self.at, error.pos)
                    self._fail(error.msg)
                continue
            except RecursionError:
                self._fail("a value is nested too deeply")
            if end > len(self.text) - NUMBER and self._more():
                continue
            value = self.text[self.at : end]
            self.line += value.count("\n")
            self.at = end
            return value

    def _more(self, size: int = 0) -> bool:
        """Read on, by at least as much as is unread, so that a long value costs linear time."""
        block = self.stream.read(max(self.block, size))
        if block:
            self.text, self.at = self.text[self.at :] + block, 0
        return bool(block)

    def _fail(self, what: str) -> NoReturn:
        raise RetuneError(f"{self.path}:{self.line}: broken JSON ({what}); mend the file")
