"""The fields of a record as text, nested or not, whatever the format of its file."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import json_text, sql_expression
from retune.data.convert.typed_records import Records
from retune.errors import RetuneError

LISTED = 20
"""Fields that an error names."""

JOIN = "$join."
"""What the names of a joined file's fields begin with, where the join has no name of its own."""

Joined = Mapping[str, Records]
"""What the names of a joined file's fields begin with -> its records."""

POSITION = re.compile("[0-9]{1,9}")
"""A step of a path that may be the place of an entry in a list."""


def prefix_of(join: Mapping[str, Any]) -> str:
    """What the names of a joined file's fields begin with."""
    return f"${join.get('name') or 'join'}."


def split(name: str, joined: Joined | None) -> tuple[str, str]:
    """The prefix of a joined file, empty for a field of the first one, and the name of the field in it."""
    start, dot, rest = name.partition(".")
    is_joined = dot and name.startswith("$") and (joined or name.startswith(JOIN))
    return (f"{start}.", rest) if is_joined else ("", name)


def field(name: str, records: Records, joined: Joined | None, path: Path) -> pl.Expr:
    """A field as text."""
    if name == "$file":
        return pl.lit(path.stem)
    if name == "$line":
        return pl.col("$line").cast(pl.String)
    prefix, rest = split(name, joined)
    if prefix:
        if not joined or prefix not in joined:
            has = f"joins {', '.join(f'`{one}NAME`' for one in joined)}" if joined else "has no `join`"
            raise RetuneError(f"the mapping of {path.name} names `{name}`, but the table {has}")
        records, name = joined[prefix], rest
    if records.fields is None:
        return _in_json(pl.col(prefix + "$row"), name)
    if name in records.fields:
        return pl.col(prefix + name)
    first, _, rest = name.partition(".")
    if rest and first in records.fields:
        return _in_json(json_text.exact(pl.col(prefix + first)), rest)
    near = difflib.get_close_matches(name, records.fields, 1)
    hint = f"; do you mean `{near[0]}`?" if near else ""
    listed = ", ".join(records.fields[:LISTED]) + (" ..." if len(records.fields) > LISTED else "")
    raise RetuneError(f"{path} has no field `{name}`{hint} (it has {listed})")


def broken_json(name: str, records: Records, joined: Joined | None) -> pl.Expr | None:
    """Whether the text that a nested field is looked for in is no JSON; None for a field that is not nested in one."""
    prefix, inside = split(name, joined)
    if joined and prefix in joined:
        records, name = joined[prefix], inside
    first, _, rest = name.partition(".")
    if records.fields is None or name in records.fields or not rest or first not in records.fields:
        return None
    text = pl.col(prefix + first)
    return (text.str.strip_chars() != "") & text.str.json_path_match("$").is_null()


def origins(columns: Mapping[str, Any]) -> list[str]:
    """The fields that the columns of a mapping name, without those that every record has (`$file`, `$line`)."""
    specs = [{"from": spec} if isinstance(spec, str) else spec for spec in columns.values()]
    names = [name for spec in specs for name in read_by(spec)]
    return [name for name in dict.fromkeys(names) if name not in ("$file", "$line")]


def read_by(spec: Mapping[str, Any]) -> Sequence[str]:
    """The fields that the specification of a column, or of a `where`, names."""
    if spec.get("sql") is not None:
        return sql_expression.parsed(spec["sql"]).fields
    named = spec.get("from") or ()
    return (named,) if isinstance(named, str) else named


def sql(text: str, records: Records, joined: Joined | None, path: Path) -> pl.Expr:
    """A struct of `value` and `problem` (see `sql_expression.evaluated`); an empty field is NULL in the expression."""
    expression = sql_expression.parsed(text)
    inputs = []
    for name in expression.fields:
        value = field(name, records, joined, path)
        inputs.append(pl.when(value != "").then(value).alias(name))
    rows = pl.struct(inputs or [pl.col("$line")])
    return rows.map_batches(
        lambda structs: sql_expression.evaluated(structs.struct.unnest(), expression).to_struct("sql"),
        pl.Struct({"value": pl.String, "problem": pl.String}),
        is_elementwise=True,
    )


def _in_json(text: pl.Expr, name: str) -> pl.Expr:
    """The field at a dotted path of a JSON object's text; a key that holds dots itself is found too."""
    keys = name.split(".")
    paths = ["".join(_key(key) for key in keys)]
    if any(POSITION.fullmatch(key) for key in keys):
        paths.append("".join(f"[{key}]" if POSITION.fullmatch(key) else _key(key) for key in keys))
    if len(keys) > 1:
        paths.append(_key(name))
    return pl.coalesce([text.str.json_path_match("$" + path) for path in paths])


def _key(key: str) -> str:
    if "\\" in key:
        raise RetuneError(f"a field with a backslash in its name can't be read from JSON: `{key}`")
    quoted = key.replace("'", "\\'")
    return f"['{quoted}']"


def flat(value: pl.Expr, separator: str) -> pl.Expr:
    """The texts of a JSON list, nested or not, as one text; any other text as it is."""
    return value.map_batches(lambda texts: _flattened(texts, separator), pl.String, is_elementwise=True)


def _flattened(texts: pl.Series, separator: str) -> pl.Series:
    """JSON lists of texts, nested or not, as one text each; anything else stays."""
    return pl.Series(texts.name, [_flat(t, separator) if t and t[0] == "[" else t for t in texts], pl.String)


def _flat(text: str, separator: str) -> str | None:
    """The texts of a list as one; None where half an emoji is among them, which no text can hold."""
    joined = separator.join(_leaves(text))
    return None if json_text.SURROGATE.search(joined) else joined


def _leaves(text: str) -> list[str]:
    try:
        queue = [json_text.loads(text)]
    except ValueError:
        return [text]
    leaves = []
    while queue:
        entry = queue.pop()
        if isinstance(entry, list):
            queue += reversed(entry)
        elif entry is not None:
            leaves.append(text_of(entry))
    return leaves


def text_of(value: Any) -> str:
    """A value of YAML or JSON as text: 1 for 1 and 1.0, true for True."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)
