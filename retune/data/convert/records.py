"""Any file of a source as a lazy frame of records, whatever its format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import character_encoding, csv_records, json_records
from retune.errors import RetuneError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}


@dataclass(frozen=True)
class Records:
    """The records of one file.

    `frame` has `$line` (Int64, from 1), `$broken` (String, why the record can't be read, or null) and `$row` (String,
    its text); where `fields` is None, `$row` is a JSON object, otherwise the fields are String columns beside it.
    """

    frame: pl.LazyFrame
    fields: tuple[str, ...] | None


def read(path: Path, table: dict[str, Any], scratch: Path) -> Records:
    """Read one file; `table` gives format, encoding, records, fields and quoted. `scratch` takes temporary files.

    Raises `RetuneError` for an unknown format, a misfitting encoding, and a file that is broken as a whole.
    """
    form = table.get("format") or FORMATS.get(path.suffix.lower())
    if form is None:
        raise RetuneError(
            f"{path}: `{path.suffix}` tells no format; give the table `format: ` csv, tsv, json, jsonl, parquet or xlsx"
        )
    if form in ("parquet", "xlsx"):
        return _typed(path, form)
    codec = character_encoding.detect(path, table.get("encoding") or "auto")
    if form == "json" and not table.get("records") and _is_json_lines(path, codec):
        form = "jsonl"
    if form == "jsonl":
        return _json_lines(
            path if codec == "utf-8" else character_encoding.transcode(path, codec, scratch / "utf8.jsonl")
        )
    if form == "json":
        return _json(_stored(json_records.batches(path, codec, table.get("records")), scratch))
    separator = "," if form == "csv" else "\t"
    quoted = form == "csv" if table.get("quoted") is None else bool(table["quoted"])
    given = table.get("fields")
    fields = list(given) if given else csv_records.header(path, codec, separator, quoted)
    frame = _stored(csv_records.batches(path, codec, separator, quoted, fields, skip_header=not given), scratch)
    return Records(frame.with_columns(pl.coalesce("$row", _as_json(fields)).alias("$row")), tuple(fields))


def _json_lines(path: Path) -> Records:
    text = pl.col("$row").str.strip_chars()
    frame = pl.scan_lines(path, name="$row", row_index_name="$line", row_index_offset=1, glob=False)
    return _json(frame.with_columns(text, pl.col("$line").cast(pl.Int64)).filter(text != ""))


def _json(frame: pl.LazyFrame) -> Records:
    """Records of JSON texts in `$row`."""
    text = pl.col("$row")
    unread, other = text.str.json_path_match("$").is_null(), ~text.str.starts_with("{")
    broken = pl.when(unread).then(pl.lit("broken JSON")).when(other).then(pl.lit("no JSON object"))
    return Records(frame.with_columns(broken.alias("$broken")), None)


def _is_json_lines(path: Path, codec: str) -> bool:
    """Whether a `.json` file is JSON lines after all: its first line is an object, and another one follows."""
    with path.open(encoding=codec) as stream:
        lines = (line for line in stream if line.strip())
        first, second = next(lines, "").strip(), next(lines, "").strip()
    if not (first.startswith("{") and second.startswith("{")):
        return False
    try:
        json.loads(first)
    except json.JSONDecodeError:
        return False
    return True


def _typed(path: Path, form: str) -> Records:
    """Records of a format with types: numbers become their text, lists and structs their JSON text."""
    try:
        if form == "parquet":
            frame, first_line = pl.scan_parquet(path, glob=False), 1
        else:
            frame, first_line = pl.read_excel(path, infer_schema_length=0, drop_empty_rows=False).lazy(), 2
        schema = frame.collect_schema()
    except Exception as error:  # polars and fastexcel raise many kinds
        raise RetuneError(f"{path} can't be read as {form}: {error}") from None
    texts = [_as_text(name, dtype) for name, dtype in schema.items()]
    frame = frame.select(texts).with_row_index("$line", offset=first_line)
    empty = pl.lit(None, pl.String).alias("$broken")
    frame = frame.with_columns(pl.col("$line").cast(pl.Int64), empty, _as_json(schema.names()).alias("$row"))
    if form == "xlsx":  # blank lines, as a CSV file may have them
        frame = frame.filter(~pl.all_horizontal(pl.col(schema.names()).is_null()))
    return Records(frame, tuple(schema))


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Struct):
        return pl.col(name).struct.json_encode()
    if dtype.is_nested():
        wrapped = pl.struct(pl.col(name).alias("list")).struct.json_encode()
        return pl.when(pl.col(name).is_not_null()).then(wrapped.str.json_path_match("$.list")).alias(name)
    return pl.col(name).cast(pl.String)


def _as_json(fields: list[str]) -> pl.Expr:
    return pl.struct(fields).struct.json_encode()


def _stored(frames: Iterator[pl.DataFrame], scratch: Path) -> pl.LazyFrame:
    """The frames as one lazy frame over Parquet files in `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for frame in frames:
        files.append(scratch / f"{len(files):06}.parquet")
        frame.write_parquet(files[-1], compression="lz4")
    return pl.scan_parquet(files, glob=False)
