"""The fields of a record as text, nested or not, whatever the format of its file."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from retune.data.convert import json_text
from retune.data.convert.typed_records import Records
from retune.errors import RetuneError

LISTED = 20
"""Fields that an error names."""

JOIN = "$join."
"""What the names of a joined file's fields begin with."""

POSITION = re.compile("[0-9]{1,9}")
"""A step of a path that may be the place of an entry in a list."""


def field(name: str, records: Records, joined: Records | None, path: Path) -> pl.Expr:
    """A field as text."""
    if name == "$file":
        return pl.lit(path.stem)
    if name == "$line":
        return pl.col("$line").cast(pl.String)
    prefix = ""
    if name.startswith(JOIN):
        if joined is None:
            raise RetuneError(f"the mapping of {path.name} names `{name}`, but the table has no `join`")
        records, name, prefix = joined, name.removeprefix(JOIN), JOIN
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


def broken_json(name: str, records: Records, joined: Records | None) -> pl.Expr | None:
    """Whether the text that a nested field is looked for in is no JSON; None for a field that is not nested in one."""
    prefix = ""
    if name.startswith(JOIN) and joined is not None:
        records, name, prefix = joined, name.removeprefix(JOIN), JOIN
    first, _, rest = name.partition(".")
    if records.fields is None or name in records.fields or not rest or first not in records.fields:
        return None
    text = pl.col(prefix + first)
    return (text.str.strip_chars() != "") & text.str.json_path_match("$").is_null()


def origins(columns: Mapping[str, Any]) -> list[str]:
    """The fields that the columns of a mapping name, without those that every record has (`$file`, `$line`)."""
    specs = [{"from": spec} if isinstance(spec, str) else spec for spec in columns.values()]
    named = [spec["from"] for spec in specs if spec.get("from") is not None]
    names = [name for one in named for name in ([one] if isinstance(one, str) else one)]
    return [name for name in dict.fromkeys(names) if name not in ("$file", "$line")]


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
