"""Any file of a source as a lazy frame of records, whatever its format."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import character_encoding, compressed, csv_records, json_records, json_text, typed_records
from retune.data.convert.typed_records import Records, as_json
from retune.errors import RetuneError

log = logging.getLogger("retune")

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}


def read(path: Path, table: dict[str, Any], scratch: Path, wanted: Collection[str] | None = None) -> Records:
    """Read one file; `table` gives what `File` of the catalog's schema has. `scratch` takes temporary files.

    `wanted` are the fields that the mapping names: of formats with types no other column is read. A file that gzip
    compressed, or in a zip archive, is unpacked first. Raises `RetuneError` for an unknown format, a misfitting
    encoding, and a file that is broken as a whole.
    """
    inner = compressed.unpacked(path, scratch, table.get("member"))
    if inner is None:
        return _read(path, table, scratch, wanted)
    try:
        return _read(inner, table, scratch, wanted)
    except RetuneError as error:
        raise RetuneError(str(error).replace(str(inner), str(path))) from None


def _read(path: Path, table: dict[str, Any], scratch: Path, wanted: Collection[str] | None) -> Records:
    form = table.get("format") or FORMATS.get(path.suffix.lower())
    if form is None:
        raise RetuneError(
            f"{path}: `{path.suffix}` tells no format; give the table `format: ` csv, tsv, json, jsonl, parquet or xlsx"
        )
    if form == "parquet":
        return typed_records.parquet(path, wanted)
    if form == "xlsx":
        return typed_records.sheet(path, table.get("sheet"), table.get("header_row"), wanted)
    compressed.refuse_binary(path, form)
    codec = character_encoding.detect(path, table.get("encoding") or "auto")
    if form in ("json", "jsonl"):
        return _json_file(path, form, codec, table.get("records"), scratch)
    given = table.get("fields")
    quoted = form == "csv" if table.get("quoted") is None else bool(table["quoted"])
    usual = "," if form == "csv" else "\t"
    how = csv_records.dialect(path, codec, table.get("separator"), usual, quoted, given)
    fields = list(given) if given else csv_records.header(path, codec, how)
    frame = _stored(csv_records.batches(path, codec, how, fields, skip_header=not given), scratch)
    return Records(frame.with_columns(pl.coalesce("$row", as_json(fields)).alias("$row")), tuple(fields))


def _json_file(path: Path, form: str, codec: str, records: str | None, scratch: Path) -> Records:
    """A list, lines, or values one behind another: by what stands in the file where that is not what its name says."""
    found = "json" if records else json_records.layout(path, codec, form)
    if found == "jsonl":
        return _json_lines(
            path if codec == "utf-8" else character_encoding.transcode(path, codec, scratch / "utf8.jsonl")
        )
    if found == "concatenated" or (form == "jsonl" and not records):
        what = "one list" if found == "json" else "objects that are no lines"
        log.info("%s: it is read as JSON that holds %s", path, what)
    return _json(_stored(json_records.batches(path, codec, records, found == "concatenated"), scratch))


def _json_lines(path: Path) -> Records:
    text = pl.col("$row").str.strip_chars()
    frame = pl.scan_lines(path, name="$row", row_index_name="$line", row_index_offset=1, glob=False)
    return _json(frame.with_columns(text, pl.col("$line").cast(pl.Int64)).filter(text != ""))


def _json(frame: pl.LazyFrame) -> Records:
    """Records of JSON texts in `$row`."""
    text = pl.col("$row")
    unread, other = text.str.json_path_match("$").is_null(), ~text.str.starts_with("{")
    broken = pl.when(unread).then(pl.lit("broken JSON")).when(other).then(pl.lit("no JSON object"))
    return Records(frame.with_columns(json_text.exact(text), broken.alias("$broken")), None)


def store(frame: pl.LazyFrame, path: Path, target: Path) -> None:
    """Write a frame that reads `path` to the Parquet file `target`; raises `RetuneError` where `path` is damaged."""
    try:
        frame.sink_parquet(target, compression="lz4", mkdir=True)
    except pl.exceptions.PolarsError as error:  # the pages of a Parquet file are read only here
        raise RetuneError(f"{path} can't be read: {str(error).strip().splitlines()[0]}") from None


def _stored(frames: Iterator[pl.DataFrame], scratch: Path) -> pl.LazyFrame:
    """The frames as one lazy frame over Parquet files in `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for frame in frames:
        files.append(scratch / f"{len(files):06}.parquet")
        frame.write_parquet(files[-1], compression="lz4")
    return pl.scan_parquet(files, glob=False)
