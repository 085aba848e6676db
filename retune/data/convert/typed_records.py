"""Records of formats with types: numbers become their text, lists and structs their JSON text."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retune.errors import RetuneError, unknown

log = logging.getLogger("retune")

NO_TEXT = (pl.Binary, pl.Object, pl.Duration, pl.Unknown)
"""Types of a column that are neither text nor JSON."""


@dataclass(frozen=True)
class Records:
    """The records of one file.

    `frame` has `$line` (Int64, from 1), `$broken` (String, why the record can't be read, or null) and `$row` (String,
    its text); where `fields` is None, `$row` is a JSON object, otherwise the fields are String columns beside it.
    """

    frame: pl.LazyFrame
    fields: tuple[str, ...] | None


def parquet(path: Path, wanted: Collection[str] | None) -> Records:
    """The columns of a Parquet file that are `wanted` (all: None); `$line` is the row.

    Raises `RetuneError` where the file is broken, and for a wanted column that is neither text nor JSON.
    """
    try:
        frame = pl.scan_parquet(path, glob=False)
        schema = frame.collect_schema()
    except Exception as error:  # polars raises many kinds
        raise RetuneError(f"{path} can't be read as parquet: {error}") from None
    read = [name for name in schema if wanted is None or _is_wanted(name, wanted)]
    for name in read:
        if _holds(schema[name], NO_TEXT):
            raise RetuneError(
                f"{path}: the column `{name}` is of type {schema[name]}, which is neither text nor JSON; "
                "map another column, or save this one as text"
            )
    line = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("$line")
    if not read:  # a mapping of constants and of joined fields
        return Records(_with_row(frame.select(line), read), tuple(schema))
    texts = frame.select([_as_text(name, schema[name]) for name in read])
    return Records(_with_row(texts.with_row_index("$line", 1), read), tuple(schema))


def sheet(path: Path, name: str | None, header_row: int | None, wanted: Collection[str] | None) -> Records:
    """A sheet of a workbook, by default the first one; its header is in row `header_row` (from 1), or its first row.

    `$line` is the row of the sheet; blank rows are left out. Sheets with content that are not read are told where no
    `name` was given. Raises `RetuneError` where there is no such sheet or header, or a wanted name stands in it twice.
    """
    import fastexcel

    try:
        book = fastexcel.read_excel(str(path))
    except Exception as error:  # fastexcel raises many kinds
        raise RetuneError(f"{path} can't be read as xlsx: {error}") from None
    if name is not None and name not in book.sheet_names:
        raise RetuneError(f"{path}: {unknown('sheet', name, book.sheet_names)}")
    chosen = book.sheet_names[0] if name is None else name
    try:
        cells = book.load_sheet(chosen, header_row=None, skip_rows=0, dtypes="string").to_polars()
    except Exception as error:
        raise RetuneError(f"{path}: the sheet `{chosen}` can't be read: {error}") from None
    if name is None and (others := [other for other in book.sheet_names[1:] if _has_content(book, other)]):
        log.warning(
            "%s: the sheet `%s` is read, and not %s; give the table `sheet: NAME` (a table for each)",
            path, chosen, ", ".join(f"`{other}`" for other in others),
        )  # fmt: skip
    filled = [any(cell is not None for cell in row) for row in cells.iter_rows()]
    header = (filled.index(True) if True in filled else 0) if header_row is None else header_row - 1
    if header >= cells.height or not filled[header]:
        raise RetuneError(f"{path}: the sheet `{chosen}` has no header in row {header + 1}; give its `header_row`")
    names = _names(cells.row(header), wanted, f"{path}, row {header + 1} of the sheet `{chosen}`")
    frame = cells.rename(dict(zip(cells.columns, names, strict=True))).with_row_index("$line", 1)
    keep = pl.Series([place > header and full for place, full in enumerate(filled)], dtype=pl.Boolean)
    return Records(_with_row(frame.filter(keep).lazy(), names), tuple(names))


def as_json(fields: list[str]) -> pl.Expr:
    """The fields as the text of a JSON object."""
    return pl.struct(fields).struct.json_encode() if fields else pl.lit("{}")


def _with_row(frame: pl.LazyFrame, fields: list[str]) -> pl.LazyFrame:
    empty = pl.lit(None, pl.String).alias("$broken")
    return frame.with_columns(pl.col("$line").cast(pl.Int64), empty, as_json(fields).alias("$row"))


def _is_wanted(name: str, wanted: Collection[str]) -> bool:
    """Whether a mapping names a column, or a field in it."""
    return any(one == name or one.startswith(f"{name}.") for one in wanted)


def _holds(dtype: Any, types: tuple[Any, ...]) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_holds(field.dtype, types) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _holds(dtype.inner, types)
    return isinstance(dtype, types)


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Struct):
        return pl.col(name).struct.json_encode()
    if dtype.is_nested():
        wrapped = pl.struct(pl.col(name).alias("list")).struct.json_encode()
        return pl.when(pl.col(name).is_not_null()).then(wrapped.str.json_path_match("$.list")).alias(name)
    return pl.col(name).cast(pl.String)


def _names(cells: tuple[str | None, ...], wanted: Collection[str] | None, where: str) -> list[str]:
    """The names of a header's cells; an empty one is named by its column, one that stands twice gets a number."""
    names: list[str] = []
    for column, cell in enumerate(cells, 1):
        name = (cell or "").strip() or f"column {column}"
        if name in names:
            if wanted is None or _is_wanted(name, wanted):
                raise RetuneError(f"{where}: the header names `{name}` twice; mend it")
            name = f"{name} (column {column})"
        names.append(name)
    return names


def _has_content(book: Any, name: str) -> bool:
    """Whether a sheet, hidden or not, has a cell; a sheet of charts alone can't be loaded."""
    try:
        return bool(book.load_sheet(name, n_rows=1).width > 0)
    except Exception:  # fastexcel has one error for all
        return False
