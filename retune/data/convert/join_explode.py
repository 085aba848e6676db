"""Records out of several places: a second file joined to the first, a list or dict field exploded into rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import json_text
from retune.data.convert.fields import JOIN, field
from retune.data.convert.typed_records import Records
from retune.errors import RetuneError

PARTS = pl.List(pl.Struct({"row": pl.String, "broken": pl.String}))


def join(first: Records, second: Records, by: str, path: Path, other: Path) -> Records:
    """The records of `first` with the columns of `second` beside them, named `$join.` + name.

    By `$line` the n-th record meets the n-th, and different counts raise `RetuneError`; by a field, a record without a
    partner is broken, and a key that `second` has twice raises `RetuneError`.
    """
    right = second.frame.rename(lambda name: JOIN + name)
    broken = pl.concat_str(pl.lit(f"in {other.name}: "), JOIN + "$broken")
    if by == "$line":
        counts = [records.frame.select(pl.len()).collect(engine="streaming").item() for records in (first, second)]
        if counts[0] != counts[1]:
            raise RetuneError(
                f"{path} has {counts[0]:,} records and {other} has {counts[1]:,}: a join by line needs as many; "
                "mend the files, or join by a key"
            )
        both = pl.concat([first.frame, right], how="horizontal")
        return Records(both.with_columns(pl.coalesce("$broken", broken)), first.fields)
    keyed = second.frame.select(field(by, second, None, other).alias("$key")).filter(pl.col("$key").is_not_null())
    twice = keyed.filter(pl.col("$key").is_duplicated()).head(1).collect(engine="streaming")
    if twice.height:
        raise RetuneError(f"{other} has `{by}` = {twice.item()!r} more than once; a join needs it once")
    left = first.frame.with_columns(field(by, first, None, path).alias("$key"))
    right = second.frame.with_columns(field(by, second, None, other).alias("$key")).rename(lambda name: JOIN + name)
    both = left.join(right, left_on="$key", right_on=JOIN + "$key", how="left", maintain_order="left")
    lonely = pl.when(pl.col(JOIN + "$line").is_null()).then(pl.lit(f"{other.name} has no record with the same `{by}`"))
    return Records(both.with_columns(pl.coalesce("$broken", broken, lonely)), first.fields)


def explode(records: Records, spec: dict[str, Any]) -> Records:
    """One record for each entry of a list or dict field, with its key (or position, from 0) and value as fields.

    The field itself goes away; a record without entries is broken.
    """
    path, key, value = spec["field"].split("."), spec.get("key") or "key", spec.get("value") or "value"

    def parts(rows: pl.Series) -> pl.Series:
        return pl.Series(rows.name, [_parts(row, path, key, value) for row in rows], PARTS)

    entry = pl.col("$parts").struct
    frame = records.frame.with_columns(
        pl.when(pl.col("$broken").is_null()).then("$row").map_batches(parts, PARTS, is_elementwise=True).alias("$parts")
    ).explode("$parts")
    frame = frame.with_columns(
        pl.coalesce(entry.field("row"), "$row").alias("$row"), pl.coalesce("$broken", entry.field("broken"))
    )
    return Records(frame.drop("$parts"), None)


def _parts(row: str | None, path: list[str], key: str, value: str) -> list[dict[str, str | None]]:
    """The exploded records of one record: JSON texts, or the record itself with the reason why it is broken."""
    name = ".".join(path)
    if row is None:
        return [{"row": None, "broken": None}]
    record = parent = json_text.loads(row)
    for step in path[:-1]:
        parent = parent.get(step) if isinstance(parent, dict) else None
    entries = parent.pop(path[-1], None) if isinstance(parent, dict) else None
    if isinstance(entries, str):  # JSON inside a CSV field
        try:
            entries = json_text.loads(entries)
        except ValueError as error:
            if entries.lstrip().startswith(("[", "{")):
                return [{"row": row, "broken": f"`{name}` holds broken JSON ({error})"}]
    if not isinstance(entries, dict | list):
        return [{"row": row, "broken": f"`{name}` is no list or dict"}]
    if not entries:
        return [{"row": row, "broken": f"`{name}` is empty"}]
    taken = sorted({key, value} & record.keys())
    if taken:
        return [{"row": row, "broken": f"`{taken[0]}` is a field already, so `explode` needs another name for it"}]
    pairs = entries.items() if isinstance(entries, dict) else enumerate(entries)
    return [_part({**record, key: k, value: v}) for k, v in pairs]


def _part(record: dict[str, Any]) -> dict[str, str | None]:
    try:
        return {"row": json_text.dumps(record), "broken": None}
    except ValueError:  # half an emoji
        return {"row": json.dumps(record), "broken": "broken JSON"}
