"""What the user says of a file, what is found out about it, and how it is understood in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from retune.errors import RetuneError, unknown
from retune.propose.field import Field, short


@dataclass(frozen=True)
class Said:
    """What the user says of the columns; what is None or empty is guessed."""

    kind: str | None = None
    label: str | None = None
    texts: tuple[str, ...] = ()
    group: str | None = None
    positive: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass
class Guess:
    """How a file is understood: the kind, one mapping for each table that it becomes, and what the task says.

    `why` has (column, field, reason) of each column, `ambiguous` a sentence with the option that decides, `left` the
    fields that are not used.
    """

    kind: str
    tables: list[dict[str, Any]]
    task: dict[str, Any] = field(default_factory=dict)
    why: list[tuple[str, str, str]] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    group: str | None = None  # a field that may be the group, but was not taken


@dataclass
class Look:
    """What is known of a file while it is understood."""

    fields: dict[str, Field]
    frame: pl.DataFrame
    said: Said
    taken: set[str] = field(default_factory=set)
    columns: dict[str, Any] = field(default_factory=dict)  # those that every table has
    why: list[tuple[str, str, str]] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)

    def take(self, column: str, name: str, reason: str, spec: Any = None) -> None:
        """Let a column come from a field."""
        if column not in self.columns:
            self.columns[column] = name if spec is None else spec
            self.why.append((column, name, reason))
        self.taken.add(name)

    def free(self) -> list[Field]:
        """The fields that are not used yet, in their order."""
        return [one for name, one in self.fields.items() if name not in self.taken]

    def guess(self, kind: str, tables: list[dict[str, Any]] | None = None, **task: Any) -> Guess:
        """The result."""
        tables = [self.columns] if tables is None else tables
        said = {key: value for key, value in task.items() if value is not None}
        left = [one.name for one in self.free() if one.shape != "empty"]
        return Guess(kind, tables, said, self.why, self.ambiguous, left)

    def known(self, name: str, option: str) -> Field | None:
        """The field that an option names (None: one that every record has); raises `RetuneError` for an unknown one."""
        if name in ("$file", "$line"):
            return None
        if name not in self.fields:
            raise RetuneError(f"{option}: {unknown('field', name, self.fields)}")
        return self.fields[name]

    def described(self) -> str:
        """All fields, for an error."""
        some = list(self.fields.items())[:12]
        return ", ".join(f"{short(name, 40)} ({one.shape}, {one.distinct:,} values)" for name, one in some)
