"""The mapping of a table: from the fields of its records to the columns of a task, with a reason where a row fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import turns
from retune.data.convert.fields import Joined, broken_json, field, flat, read_by, sql, text_of
from retune.data.convert.typed_records import Records
from retune.errors import RetuneError

SHOWN = 40
"""Characters of a value that a reason shows."""

LISTED = 12
"""Labels that a reason lists."""


def map_columns(
    records: Records,
    joined: Joined | None,
    columns: dict[str, Any],
    schema: Mapping[str, Any],
    path: Path,
    where: str | None = None,
) -> pl.LazyFrame:
    """The columns of `schema` (name -> dataframely column), `$line`, `$row`, and `$reason` (null for a good row).

    An empty text counts as missing; a column that the mapping lacks is null. `joined` has the fields named
    `$join.NAME`, which stand in the frame of `records` under that name. With `where` there is a column `$out`: whether
    a record that can be read does not satisfy that expression. Raises `RetuneError` for an unknown field or column.
    """
    unknown = sorted(set(columns) - set(schema))
    if unknown:
        raise RetuneError(f"the mapping of {path.name} gives `{unknown[0]}`, but the columns are {', '.join(schema)}")
    cells: list[pl.Expr] = []
    reasons: list[pl.Expr] = [pl.col("$broken")]
    for name, column in schema.items():
        spec = columns.get(name)
        if spec is None:
            cells.append(pl.lit(None, column.dtype).alias(name))
            continue
        mapping = Cell(name, {"from": spec} if isinstance(spec, str) else spec, path)
        cell, problems = mapping.expressions(records, joined, column)
        cells.append(cell.alias(name))
        reasons += [pl.when(pl.col("$broken").is_null()).then(problem) for problem in problems]
    if where is not None:
        found = sql(where, records, joined, path)
        bad, value = (
            pl.col("$broken").is_not_null() | found.struct.field("problem").is_not_null(),
            found.struct.field("value"),
        )
        cells.append((~bad & (value != "true").fill_null(True)).alias("$out"))
        reasons.append(pl.when(pl.col("$broken").is_null()).then(pl.lit("`where` ") + found.struct.field("problem")))
    reason = pl.concat_str(reasons, separator="; ", ignore_nulls=True)
    rows = ["$row", *(prefix + "$row" for prefix in joined or ())]
    row = pl.concat_str(rows, separator="\n", ignore_nulls=True).alias("$row") if joined else pl.col("$row")
    return records.frame.select(*cells, "$line", row, pl.when(reason != "").then(reason).alias("$reason"))


@dataclass(frozen=True)
class Cell:
    """The mapping of one column: its name, its specification, and the file that it reads."""

    name: str
    spec: dict[str, Any]
    path: Path

    def expressions(self, records: Records, joined: Joined | None, column: Any) -> tuple[pl.Expr, list[pl.Expr]]:
        """The cell in the column's type, and the reasons against it (null where there is none)."""
        problems: list[pl.Expr] = []
        if self.spec.get("value") is not None:
            value = pl.lit(text_of(self.spec["value"]))
        else:
            value, problems = (self._sql if self.spec.get("sql") else self._field)(records, joined)
            if not column.nullable:
                origin = " ".join(read_by(self.spec))
                missing = pl.lit(f"`{self.name}` is missing (field `{origin}`)")
                told = problems[-1].is_not_null() if {"sql", "turn"} & self.spec.keys() else pl.lit(False)
                problems.append(pl.when(value.is_null() & ~told).then(missing))
        for step in (self._matched, self._mapped):
            value, problem = step(value)
            problems += problem
        cell = _cast(value, column.dtype)
        if column.dtype != pl.String:
            misfit = value.is_not_null() & cell.is_null()
            if isinstance(column.dtype, pl.Enum):
                several = misfit & value.str.starts_with("[")
                said = f"`{self.name}` is a list, but a row has one {self.name} (several are not supported)"
                problems.append(_problem(several, said, value))
                misfit &= ~value.str.starts_with("[")
            problems.append(_problem(misfit, f"`{self.name}` is {_misfit(column.dtype)}", value))
        return cell, problems

    def _sql(self, records: Records, joined: Joined | None) -> tuple[pl.Expr, list[pl.Expr]]:
        """The text of the expression's result."""
        found = sql(self.spec["sql"], records, joined, self.path)
        return _filled(found.struct.field("value")), [pl.lit(f"`{self.name}` ") + found.struct.field("problem")]

    def _field(self, records: Records, joined: Joined | None) -> tuple[pl.Expr, list[pl.Expr]]:
        """The text of the field, or of the fields joined; null where all are null or empty."""
        origins = self.spec["from"] if isinstance(self.spec["from"], list) else [self.spec["from"]]
        separator = self.spec.get("join")
        parts = [_filled(field(origin, records, joined, self.path)) for origin in origins]
        problems: list[pl.Expr] = [
            pl.when(broken).then(pl.lit(f"`{self.name}` is in broken JSON (field `{origin}`)"))
            for origin in origins
            if (broken := broken_json(origin, records, joined)) is not None
        ]
        if (wanted := self.spec.get("turn")) is not None:
            texts, parts = parts, [_filled(turns.turn(part, wanted)) for part in parts]
            said = pl.lit(f"`{self.name}` has no {turns.named(wanted)}")
            problems += [pl.when(t.is_not_null() & p.is_null()).then(said) for t, p in zip(texts, parts, strict=True)]
        if separator is not None:
            texts, parts = parts, [flat(part, separator) for part in parts]
            said = pl.lit(f"`{self.name}` has half an emoji (`\\ud83d`) in its list")
            problems += [pl.when(t.is_not_null() & p.is_null()).then(said) for t, p in zip(texts, parts, strict=True)]
        if len(parts) == 1:
            return parts[0], problems
        joint = pl.concat_str(parts, separator=" " if separator is None else separator, ignore_nulls=True)
        return _filled(joint), problems

    def _matched(self, value: pl.Expr) -> tuple[pl.Expr, list[pl.Expr]]:
        """The first group of `regex`, then `strip`; a group that takes no part in the match gives null."""
        pattern, problems = self.spec.get("regex"), []
        if pattern is not None:
            problems.append(_problem(~value.str.contains(pattern), f"`{self.name}` does not match /{pattern}/", value))
            value = value.str.extract(pattern, min(_groups(pattern, self.name, self.path), 1))
        return _filled(value.str.strip_chars() if self.spec.get("strip", True) else value), problems

    def _mapped(self, value: pl.Expr) -> tuple[pl.Expr, list[pl.Expr]]:
        """The entry of the value map; 1.0, as spreadsheets and data frames write 1, is 1."""
        if self.spec.get("map") is None:
            return value, []
        table = {key: text_of(entry) for key, entry in self.spec["map"].items()}
        entry = pl.coalesce(_look_up(value, table), _look_up(value.str.replace(r"^(-?\d+)\.0+$", "$1"), table))
        outside = value.is_not_null() & entry.is_null()
        return entry, [_problem(outside, f"`{self.name}` is not in the value map", value)]


def _filled(value: pl.Expr) -> pl.Expr:
    return pl.when(value != "").then(value)


def _groups(pattern: str, name: str, path: Path) -> int:
    """Number of groups of a regular expression; raises `RetuneError` where it is none."""
    try:
        schema = pl.LazyFrame(schema={"x": pl.String}).select(pl.col("x").str.extract_groups(pattern)).collect_schema()
    except pl.exceptions.ComputeError as error:
        raise RetuneError(f"the mapping of {path.name} gives `{name}` a broken regex /{pattern}/: {error}") from None
    return len(schema["x"].fields)  # type: ignore[attr-defined]


def _look_up(value: pl.Expr, table: dict[str, str]) -> pl.Expr:
    return value.replace_strict(list(table), list(table.values()), default=None, return_dtype=pl.String)


def _cast(value: pl.Expr, dtype: Any) -> pl.Expr:
    """Text to the type of the schema; null where it does not fit."""
    if dtype == pl.String:
        return value
    if dtype.is_integer():
        number = value.cast(pl.Float64, strict=False)
        return pl.when(number == number.round()).then(number).cast(dtype, strict=False)
    return value.cast(dtype, strict=False)


def _misfit(dtype: Any) -> str:
    if isinstance(dtype, pl.Enum):
        listed = ", ".join(dtype.categories[:LISTED])
        more = f", and {len(dtype.categories) - LISTED} more" if len(dtype.categories) > LISTED else ""
        return f"none of {listed}{more}"
    return "no whole number" if dtype.is_integer() else "no number"


def _problem(condition: pl.Expr, sentence: str, value: pl.Expr) -> pl.Expr:
    """`sentence: "value"` where the condition holds."""
    shown = value.str.slice(0, SHOWN).str.replace_all('"', "'", literal=True)
    return pl.when(condition).then(pl.concat_str(pl.lit(f'{sentence}: "'), shown, pl.lit('"')))
