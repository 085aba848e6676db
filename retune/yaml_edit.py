"""Change one value of a YAML file in its place: every other character stays, comments and line breaks included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from retune import atomic_file
from retune.errors import RetuneError

Keys = tuple[str, ...]


def set_value(path: Path, keys: Keys, value: Any, after: str | None = None) -> None:
    """Write `value` at `keys`; a mapping that lacks is made. A new key stands behind the key `after`, or as the last.

    Raises `RetuneError` where something else than a mapping is on the way, and for a file that is too unusual.
    """
    text = path.read_text(encoding="utf-8")
    edited = replaced(text, keys, value, after, str(path))
    try:
        done = yaml.safe_load(edited) == _set(yaml.safe_load(text), keys, value)
    except yaml.YAMLError:
        done = False
    if not done:
        raise RetuneError(f"{path}: could not edit `{keys[0]}` in place: write `{keys[-1]}: {value}` into it by hand")
    with atomic_file.replacing(path) as part:
        part.write_text(edited, encoding="utf-8")


def replaced(text: str, keys: Keys, value: Any, after: str | None = None, place: str = "text") -> str:
    """The text of a document with `value` at `keys`; `place` is what an error calls it."""
    at: Any = yaml.compose(text, yaml.SafeLoader)
    for depth, key in enumerate(keys):
        if not isinstance(at, yaml.MappingNode):
            raise RetuneError(f"{place}: {'.'.join(keys)} cannot be set, since `{keys[depth - 1]}` is no mapping")
        found = next((inner for name, inner in at.value if name.value == key), None)
        if found is None:
            for missing in reversed(keys[depth + 1 :]):
                value = {missing: value}
            return _inserted(text, at, key, _flow(value), after)
        at = found
    start = at.start_mark.index
    end = start + len(text[start : _end(at)].rstrip())
    space = "" if text[start - 1].isspace() else " "  # nothing stood behind the colon
    return text[:start] + space + _flow(value) + text[end:]


def _inserted(text: str, mapping: yaml.MappingNode, key: str, value: str, after: str | None) -> str:
    """The text with a new key in a mapping."""
    said = f"{_flow(key)}: {value}"
    if not mapping.value:
        start = mapping.start_mark.index + 1
        return text[:start] + said + text[start:]
    behind = next((inner for name, inner in mapping.value if name.value == after), mapping.value[-1][1])
    end = _end(behind)
    if mapping.flow_style:
        return f"{text[:end]}, {said}{text[end:]}"
    if text[end - 1] != "\n":  # the rest of the line may be a comment
        end = text.find("\n", end) + 1 or len(text)
    newline = "" if text[end - 1] == "\n" else "\n"
    indent = " " * mapping.value[0][0].start_mark.column
    return f"{text[:end]}{newline}{indent}{said}\n{text[end:]}"


def _end(node: yaml.Node) -> int:
    """Where a node's last character stands; a block collection's own mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _flow(value: Any) -> str:
    """A value in one line."""
    text: str = yaml.safe_dump(
        [value], default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False
    )
    return text.strip()[1:-1]


def _set(data: dict[str, Any], keys: Keys, value: Any) -> dict[str, Any]:
    """The data of a document with `value` at `keys`."""
    inner = _set(data.get(keys[0]) or {}, keys[1:], value) if len(keys) > 1 else value
    return {**data, keys[0]: inner}
