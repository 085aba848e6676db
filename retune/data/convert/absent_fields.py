"""Fields of a mapping that no record has: a misspelt name, where the records are JSON and need not be alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from retune.data.convert import json_text
from retune.data.convert.fields import POSITION, Joined, split
from retune.data.convert.typed_records import Records
from retune.errors import RetuneError, nearest

HEAD = 100
"""Records that are looked at first: nearly always they have all fields."""

LISTED = 20
"""Fields that the error names."""


@dataclass
class Found:
    """What was looked for in the files of a table and is in no record yet; `known` are fields that are there."""

    absent: set[str] | None = None
    known: dict[str, None] = field(default_factory=dict)

    def look(self, names: Iterable[str], records: Records, joined: Joined | None) -> None:
        """Look for the fields `names` in the records of one more file; what an earlier file has is not looked for."""
        wanted = set(names) if self.absent is None else self.absent & set(names)
        read = 0
        left: set[str] = set()
        places = _places(wanted, records, joined)
        for (prefix, column), inside in places.items():
            source = joined[prefix] if prefix and joined else records
            rest = dict(inside)
            for text in _texts(source, column):
                read += 1
                try:
                    value = json_text.loads(text)
                except ValueError:
                    continue
                if read <= HEAD:
                    start = prefix if column == "$row" else f"{prefix}{column}."
                    self.known |= {start + name: None for name in _names(value)}
                rest = {name: path for name, path in rest.items() if not _has(value, path)}
                if not rest:
                    break
            left |= set(rest)
        if read or not places:
            self.absent = left

    def stop(self, where: str, remedy: str = "correct the mapping") -> None:
        """Raise `RetuneError` about the first field that no record of `where` has."""
        for name in sorted(self.absent or ()):
            known = list(self.known)
            listed = ", ".join(known[:LISTED]) + (" ..." if len(known) > LISTED else "")
            raise RetuneError(
                f"no record of {where} has the field `{name}`{nearest(name, known)} (known: {listed}); {remedy}"
            )


def _places(names: set[str], records: Records, joined: Joined | None) -> dict[tuple[str, str], dict[str, str]]:
    """(prefix, column of JSON texts) -> name -> path in it, of the names that are looked for in JSON."""
    places: dict[tuple[str, str], dict[str, str]] = {}
    for name in sorted(names):
        prefix, path = split(name, joined)
        if prefix and not (joined and prefix in joined):
            continue
        source = joined[prefix] if prefix and joined else records
        column, _, rest = path.partition(".")
        if source.fields is None:
            places.setdefault((prefix, "$row"), {})[name] = path
        elif path not in source.fields and rest and column in source.fields:
            places.setdefault((prefix, column), {})[name] = rest
    return places


def _texts(records: Records, column: str) -> Iterator[str]:
    """The texts of a column in the records that can be read; the first ones alone at first."""
    frame = records.frame.filter(pl.col("$broken").is_null()).select(column)
    head = frame.head(HEAD).collect(engine="streaming")
    yield from head.to_series().drop_nulls()
    if head.height == HEAD:
        for batch in frame.slice(HEAD).collect_batches(maintain_order=True, engine="streaming"):
            yield from batch.to_series().drop_nulls()


def _has(value: Any, path: str) -> bool:
    """Whether a dotted path leads anywhere in a value, be it to null; a key that holds dots itself is found too."""
    if isinstance(value, dict) and path in value:
        return True
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and POSITION.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            return False
    return True


def _names(value: Any, start: str = "", depth: int = 3) -> list[str]:
    """The dotted names of the fields in a value."""
    if not isinstance(value, dict) or not depth:
        return []
    return [name for key in value for name in (start + key, *_names(value[key], f"{start}{key}.", depth - 1))]
