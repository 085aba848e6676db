"""Records out of several places: a second file joined to the first, a list or dict field exploded into rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import json_text
from retune.data.convert.fields import field, prefix_of
from retune.data.convert.typed_records import Records
from retune.errors import RetuneError

PARTS = pl.List(pl.Struct({"row": pl.String, "broken": pl.String}))


def join(first: Records, second: Records, spec: dict[str, Any], path: Path, other: Path) -> Records:
    """The records of `first` with the columns of `second` beside them, named by the prefix of the join and a name.

    By `$line` the n-th record meets the n-th, and different counts raise `RetuneError`; by a field (of `second`:
    `key`), a record without a partner is broken, and a key that `second` has twice raises `RetuneError`.
    """
    prefix, by = prefix_of(spec), spec.get("by") or "$line"
    key = spec.get("key") or by
    right = second.frame.rename(lambda name: prefix + name)
    broken = pl.concat_str(pl.lit(f"in {other.name}: "), prefix + "$broken")
    if by == "$line":
        counts = [records.frame.select(pl.len()).collect(engine="streaming").item() for records in (first, second)]
        if counts[0] != counts[1]:
            raise RetuneError(
                f"{path} has {counts[0]:,} records and {other} has {counts[1]:,}: a join by line needs as many; "
                "mend the files, or join by a key"
            )
        both = pl.concat([first.frame, right], how="horizontal")
        return Records(both.with_columns(pl.coalesce("$broken", broken)), first.fields)
    keyed = second.frame.select(field(key, second, None, other).alias("$key")).filter(pl.col("$key").is_not_null())
    twice = keyed.filter(pl.col("$key").is_duplicated()).head(1).collect(engine="streaming")
    if twice.height:
        raise RetuneError(f"{other} has `{key}` = {twice.item()!r} more than once; a join needs it once")
    left = first.frame.with_columns(field(by, first, None, path).alias("$key"))
    right = second.frame.with_columns(field(key, second, None, other).alias("$key")).rename(lambda name: prefix + name)
    both = left.join(right, left_on="$key", right_on=prefix + "$key", how="left", maintain_order="left")
    same = f"the same `{by}`" if key == by else f"a `{key}` like its `{by}`"
    lonely = pl.when(pl.col(prefix + "$line").is_null()).then(pl.lit(f"{other.name} has no record with {same}"))
    return Records(both.with_columns(pl.coalesce("$broken", broken, lonely)), first.fields)


def explode(records: Records, spec: dict[str, Any]) -> Records:
    """One record for each entry of a list or dict field, with its key (or position, from 0) and value as fields.

    Of parallel lists (`field` is a list of fields) the value has an entry of each, under the field's name; of lists one
    behind another (`field` gives each a key) the key is the list's. The fields themselves go away; a record without
    entries is broken.
    """

    def parts(rows: pl.Series) -> pl.Series:
        return pl.Series(rows.name, [_parts(row, spec) for row in rows], PARTS)

    entry = pl.col("$parts").struct
    frame = records.frame.with_columns(
        pl.when(pl.col("$broken").is_null()).then("$row").map_batches(parts, PARTS, is_elementwise=True).alias("$parts")
    ).explode("$parts")
    frame = frame.with_columns(
        pl.coalesce(entry.field("row"), "$row").alias("$row"), pl.coalesce("$broken", entry.field("broken"))
    )
    return Records(frame.drop("$parts"), None)


def exploded_fields(spec: dict[str, Any] | None) -> list[str]:
    """The fields that are exploded."""
    field = spec["field"] if spec else []
    return [field] if isinstance(field, str) else list(field)


def _parts(row: str | None, spec: dict[str, Any]) -> list[dict[str, str | None]]:
    """The exploded records of one record: JSON texts, or the record itself with the reason why it is broken."""
    if row is None:
        return [{"row": None, "broken": None}]
    field, key, value = spec["field"], spec.get("key") or "key", spec.get("value") or "value"
    record = json_text.loads(row)
    try:
        found = {name: _entries(_taken(record, name), name, spec) for name in exploded_fields(spec)}
        pairs = _pairs(field, found)
    except _Broken as broken:
        return [{"row": row, "broken": str(broken)}]
    taken = sorted({key, value} & record.keys())
    if taken:
        return [{"row": row, "broken": f"`{taken[0]}` is a field already, so `explode` needs another name for it"}]
    return [_part({**record, key: k, value: v}) for k, v in pairs]


class _Broken(Exception):
    """Why a record can't be exploded."""


def _taken(record: dict[str, Any], name: str) -> Any:
    """The value at a dotted path, which the record then has no more."""
    *path, last = name.split(".")
    parent: Any = record
    for step in path:
        parent = parent.get(step) if isinstance(parent, dict) else None
    return parent.pop(last, None) if isinstance(parent, dict) else None


def _entries(entries: Any, name: str, spec: dict[str, Any]) -> Any:
    """The list or dict that a field holds: itself, as JSON inside a CSV field, or as a text with separators."""
    separator, several = spec.get("separator"), isinstance(spec["field"], dict)
    if isinstance(entries, str) and separator is not None:
        return [part.strip() for part in entries.split(separator) if part.strip()]
    if isinstance(entries, str):
        try:
            entries = json_text.loads(entries)
        except ValueError as error:
            if entries.lstrip().startswith(("[", "{")):
                raise _Broken(f"`{name}` holds broken JSON ({error})") from None
    if several and not isinstance(entries, list):
        return [entries] if isinstance(entries, str) and entries else [] if entries in (None, "") else [entries]
    if not isinstance(entries, dict | list):
        raise _Broken(f"`{name}` is no list or dict")
    return entries


def _pairs(field: Any, found: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """(key, value) of each entry."""
    if isinstance(field, dict):
        pairs = [(field[name], entry) for name, entries in found.items() for entry in entries]
    elif isinstance(field, list):
        counts = {name: len(entries) for name, entries in found.items()}
        if len(set(counts.values())) > 1:
            said = " and ".join(f"{count} in `{name}`" for name, count in counts.items())
            raise _Broken(f"lists side by side need as many entries, but there are {said}")
        names = [name.rpartition(".")[2] for name in found]
        pairs = [(at, dict(zip(names, row, strict=True))) for at, row in enumerate(zip(*found.values(), strict=True))]
    else:
        (entries,) = found.values()
        pairs = list(entries.items() if isinstance(entries, dict) else enumerate(entries))
    if not pairs:
        raise _Broken(f"{', '.join(f'`{name}`' for name in found)} {'is' if len(found) == 1 else 'are'} empty")
    return iter(pairs)


def _part(record: dict[str, Any]) -> dict[str, str | None]:
    try:
        return {"row": json_text.dumps(record), "broken": None}
    except ValueError:  # half an emoji
        return {"row": json.dumps(record), "broken": "broken JSON"}
