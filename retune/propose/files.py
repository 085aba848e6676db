"""The files of a proposal: found, read by the readers of the build, and what their fields look like."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import character_encoding, compressed, csv_records, fields, json_text
from retune.data.convert.records import FORMATS, read
from retune.data.convert.typed_records import Records
from retune.errors import RetuneError
from retune.propose import lists
from retune.propose.field import Field, profile

log = logging.getLogger("retune")

LOOKED_AT = 50_000
"""Records of a file whose fields are looked at; all of them are converted."""

PARSED = 500
"""JSON records that show which fields there are."""

SPLITS = {
    "train": "train", "training": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev",
    "eval": "dev", "test": "test", "testing": "test", "gold": "test", "calibration": "calibration",
    "训练": "train", "训练集": "train", "验证": "dev", "验证集": "dev", "测试": "test", "测试集": "test",
}  # fmt: skip
"""Word in the name of a file or folder -> the official split that it means."""

FORMAT_LIST = "csv, tsv, json, jsonl, parquet, xlsx (each gzipped too)"
MOST_FILES = 500

FORMATS_OF = {"sheet": ("xlsx",), "records": ("json",), "separator": ("csv",), "fields": ("csv", "tsv")}
"""Options of one format alone."""


@dataclass(frozen=True)
class File:
    """A file that was read: its path, its split (None: dealt by hash), what its table says, and its records."""

    path: Path
    split: str | None
    table: dict[str, Any]
    frame: pl.DataFrame
    fields: dict[str, Field]
    notes: list[str] = field(default_factory=list)
    broken: int = 0

    @property
    def signature(self) -> tuple[str, ...]:
        """The names of its fields."""
        return tuple(sorted(self.fields))


def listed(named: Sequence[tuple[str | None, Path]]) -> list[tuple[str | None, Path]]:
    """(split, file) of every file that is named, or lies in a folder that is; raises `RetuneError` for none."""
    found: list[tuple[str | None, Path]] = []
    for split, path in named:
        if path.is_dir():
            inside = sorted(
                file for file in path.rglob("*") if file.is_file() and _format(file) and file.name[:1] not in ".~"
                and file.name != "SOURCE.json"
            )  # fmt: skip
            if not inside:
                raise RetuneError(f"{path} holds no file that can be read: looked for {FORMAT_LIST}")
            found += [(split or split_of(file.relative_to(path)), file) for file in inside]
        elif path.is_file():
            found.append((split, path))
        else:
            raise RetuneError(f"{path} does not exist: give the path of a file, or of a folder with data files")
    if len(found) > MOST_FILES:
        raise RetuneError(f"{len(found):,} files, but at most {MOST_FILES} are looked at: join them, or name some")
    several = len({path for _, path in found}) > 1
    return [(split or (split_of(Path(path.name)) if several else None), path) for split, path in found]


def split_of(path: Path) -> str | None:
    """The split that the name of a file says, or that of a folder around it; `path` begins where the user points."""
    for name in (path.name.partition(".")[0], *reversed(path.parent.parts)):
        for word in reversed(re.split(r"[^a-zA-Z\u4e00-\u9fff]+", name.lower())):
            if word in SPLITS:
                return SPLITS[word]
    return None


def open_file(path: Path, split: str | None, said: dict[str, Any], scratch: Path) -> File:
    """Read one file as the build will, with `said` (keys of a table) from the user.

    Raises `RetuneError` where it can't be understood, with what was looked for.
    """
    if not path.stat().st_size:
        raise RetuneError(f"{path} is empty")
    table, notes = dict(said), list[str]()
    if "format" not in table and not _format(path):
        table["format"] = _by_content(path)
        notes.append(f"its name tells no format; it looks like {table['format']} (`--format` says another)")
    form = table.get("format") or _format(path)
    for key, forms in FORMATS_OF.items():
        if key in said and form not in forms:
            raise RetuneError(f"--{key} is for {' and '.join(forms)}, and {path} is read as {form}: leave it out")
    plain = compressed.unpacked(path, scratch / "plain") or path
    if form in ("csv", "tsv") and "fields" not in table and (names := _without_header(plain, table, form)):
        table["fields"] = names
        notes.append(
            f"its first line looks like a row, not like names: the {len(names)} columns are called {', '.join(names)} "
            "(`--fields NAME,NAME,...` names them)"
        )
    if form == "json" and "records" not in table and (place := _list_inside(plain, table)):
        table["records"] = place
        notes.append(f"its rows are the list at `{place}`")
    records = read(path, table, scratch)
    if "explode" not in table and (found := lists.exploded(records, _fields(records))):
        records, table["explode"] = found
        notes.append("its lists of positives and negatives become a row for each: `value`, with `key` 1 or 0")
    frame = records.frame.head(LOOKED_AT).collect()
    broken = frame.filter(pl.col("$broken").is_not_null()).height
    good = frame.filter(pl.col("$broken").is_null())
    if not good.height:
        reason = f": line {frame['$line'][0]}: {frame['$broken'][0]}" if frame.height else ""
        raise RetuneError(f"{path} holds no record that can be read as {form}{reason}; looked for {FORMAT_LIST}")
    names = list(records.fields) if records.fields is not None else _names(good["$row"].head(PARSED))
    names = [name for name in names if name.strip()]  # the index of a data frame has none
    read_by = Records(good.lazy(), records.fields)
    values = good.lazy().select(fields.field(name, read_by, None, path).alias(name) for name in names).collect()
    return File(path, split, table, values, {name: profile(values, name) for name in names}, notes, broken)


def _format(path: Path) -> str | None:
    name = path.name.lower().removesuffix(".gz")
    return FORMATS.get("." + name.rpartition(".")[2]) if "." in name else None


def _by_content(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(4096)
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:2] == b"PK":
        return "xlsx"
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    if text[:1] in ("{", "["):
        return "jsonl" if text[:1] == "{" else "json"
    if b"\x00" in head:
        raise RetuneError(f"{path} is a binary file of no known format: looked for {FORMAT_LIST}")
    first = text.partition("\n")[0]
    if not any(sign in first for sign in csv_records.SEPARATORS):
        raise RetuneError(
            f"{path} is understood as no format: looked for {FORMAT_LIST} by its name and its first line, which has no "
            "separator; `--format` says which it is"
        )
    return "tsv" if "\t" in first else "csv"


def _begins_with_a_row(path: Path, codec: str, how: Any) -> bool:
    """Whether a cell of the first line is a value of its column, and not its name."""
    ((_, _, first),) = _first(path, codec, how, None)
    rows = [row for _, broken, row in _first(path, codec, how, len(first)) if broken is None]
    columns = list(zip(first, *rows, strict=False))
    return any(column[0] and (_is_value(column[0]) or column.count(column[0]) > 1) for column in columns)


def _without_header(path: Path, table: dict[str, Any], form: str) -> list[str] | None:
    """Names for the columns of a file whose first line is a row; None where that names them."""
    codec = character_encoding.detect(path, table.get("encoding") or "auto")
    usual = "," if form == "csv" else "\t"
    how = csv_records.dialect(path, codec, table.get("separator"), usual, form == "csv", None)
    try:
        names = csv_records.header(path, codec, how)
        twice = False
    except RetuneError as error:
        if " twice" not in str(error) or not _begins_with_a_row(path, codec, how):
            raise
        names, twice = [], True
    counted = names == [str(number) for number in range(len(names))]  # as data frames write columns without names
    if not twice and (counted or not any(_is_value(name) for name in names)):
        rows = [row for _, broken, row in _first(path, codec, how, len(names)) if broken is None]
        columns = list(zip(*rows, strict=True)) if rows else []
        # a name that is a value of its own column, beside texts, is a value
        if not any(name and column.count(name) >= 2 for name, column in zip(names, columns, strict=False)):
            return None
    width = len(next((row for _, _, row in _first(path, codec, how, None)), []))
    return [f"column{number}" for number in range(1, width + 1)]


def _first(
    path: Path, codec: str, how: csv_records.Dialect, width: int | None
) -> Iterable[tuple[int, str | None, list[str]]]:
    """The first records behind the first one; with `width` None the first one itself, however wide."""
    import itertools

    if width is None:
        import csv

        with path.open(encoding=codec, newline="") as stream:
            for _ in range(how.before):
                next(stream, None)
            row = next(csv.reader(stream, delimiter=how.separator), [])
        return [(1, None, row)]
    return list(itertools.islice(csv_records.records(path, codec, how, width, True), PARSED))


def _is_value(name: str) -> bool:
    """Whether what stands in a header is a number."""
    return bool(re.fullmatch(r"[-+]?\d+(\.\d+)?", name.strip()))


def _list_inside(path: Path, table: dict[str, Any]) -> str | None:
    """The dotted path to the one list of objects in a JSON document; None where the document itself is read.

    Raises `RetuneError` where a document is one object without such a list.
    """
    codec = character_encoding.detect(path, table.get("encoding") or "auto")
    from retune.data.convert import json_records

    if json_records.layout(path, codec, "json") != "json":
        return None
    with path.open(encoding=codec) as stream:
        if stream.read(4096).lstrip("\ufeff \t\r\n").startswith("["):
            return None
    try:
        data = json.loads(path.read_text(encoding=codec))
    except ValueError:
        return None  # the reader says what is broken, and where
    if not isinstance(data, dict):
        return None
    places = [
        *(key for key, value in data.items() if _is_list(value)),
        *(f"{k}.{i}" for k, v in data.items() if isinstance(v, dict) for i, inner in v.items() if _is_list(inner)),
    ]
    if len(places) == 1:
        return places[0]
    keys = ", ".join(list(data)[:5]) + (", ..." if len(data) > 5 else "")
    if places:
        raise RetuneError(
            f"{path} holds several lists of objects ({', '.join(places)}): `--records {places[0]}` says which"
        )
    raise RetuneError(
        f"{path} is one JSON object with the keys {keys}, and not rows: looked for a list of objects, at the top or "
        "below one or two keys, and for one object a line"
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _fields(records: Records) -> list[str]:
    """The fields of records, whatever their format."""
    if records.fields is not None:
        return list(records.fields)
    return _names(records.frame.filter(pl.col("$broken").is_null()).head(PARSED).collect()["$row"])


def _names(rows: pl.Series) -> list[str]:
    """The fields of JSON records, nested ones by their paths, in the order in which they appear."""
    names: dict[str, None] = {}
    for row in rows:
        value = json_text.loads(row)
        for name in _leaves(value, ""):
            names.setdefault(name)
    return list(names)


def _leaves(value: dict[str, Any], start: str, depth: int = 0) -> list[str]:
    found = []
    for key, inner in value.items():
        if "\\" in key or not key:
            continue  # can't be mapped
        if isinstance(inner, dict) and inner and depth < 3:
            found += _leaves(inner, f"{start}{key}.", depth + 1)
        elif not isinstance(inner, dict):
            found.append(start + key)
    return found
