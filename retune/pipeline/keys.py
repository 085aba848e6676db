"""Every key that a user may write, from the schemas: type, limits, default and meaning."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from retune.pipeline import effective
from retune.pipeline.declarations import DATA, MODELS, PARAMS
from retune.pipeline.schema.catalog import Checkpoint, Source
from retune.pipeline.schema.params import Model, Params, Prompt, Task
from retune.pipeline.validation import concrete, fields, show
from retune.pipeline.yaml_file import Document

FILES: dict[str, tuple[str, type[BaseModel]]] = {
    PARAMS: ("", Params),
    DATA: ("NAME.", Source),
    MODELS: ("NAME.", Checkpoint),
    "prompts/NAME.yaml": ("", Prompt),
}
"""File -> what stands before its keys, and its schema."""

BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
SIMPLE = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}


@dataclass(frozen=True)
class Key:
    """One key: where it stands, what it may be, what it is when not given, what it is here and where, what it means."""

    file: str
    path: str
    values: str
    default: str
    meaning: str
    here: str = ""


def all_keys(params: Document | None = None) -> list[Key]:
    """All keys of all files, in the order of the schemas, with what they are in `params`, a project's params.yaml."""
    keys = [key for file, (start, schema) in FILES.items() for key in _keys(file, start, schema)]
    return [replace(key, here=_here(key, params)) for key in keys] if params else keys


def _here(key: Key, params: Document) -> str:
    """`64 (params.yaml:187)`; empty where the file does not say it, so that it is the default."""
    at = tuple(key.path.split("."))
    if key.file != PARAMS or at not in params.lines:
        return ""
    value = params.data
    for name in at:
        value = value[name]
    shown = show(value).removeprefix("the text ").strip("'")
    return "" if isinstance(value, dict) and value else f"{shown} ({params.place(at)})"


def table(rows: list[Key]) -> str:
    """Aligned text: a heading for each file, a line for each key."""
    lines: list[str] = []
    heads = Key("", "key", "values", "default", "meaning", "here")
    columns = ["path", "values", "default", *(["here"] if any(row.here for row in rows) else [])]
    widths = [max(len(getattr(row, name)) for row in [heads, *rows]) for name in columns]
    for file in dict.fromkeys(row.file for row in rows):
        lines += ["", file]
        for row in [heads, *(row for row in rows if row.file == file)]:
            cells = [getattr(row, name).ljust(width) for name, width in zip(columns, widths, strict=True)]
            lines.append(("  " + "  ".join([*cells, row.meaning])).rstrip())
    return "\n".join(lines).lstrip("\n")


def _keys(file: str, start: str, schema: type[BaseModel]) -> Iterator[Key]:
    for name, info in fields(schema).items():
        schemas = list(_schemas(info.annotation))
        if not schemas or typing.get_origin(info.annotation) is not None:
            yield Key(
                file,
                start + name,
                describe(info.annotation, info.metadata),
                _default(info),
                _meaning(schema, name, info, start + name),
            )
        for path, inner in schemas:
            yield from _keys(file, f"{start}{name}{path}.", inner)


def _schemas(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """(path below the field, schema) of each schema inside an annotation."""
    for one in concrete(annotation):
        origin, arguments = typing.get_origin(one), typing.get_args(one)
        if inspect.isclass(one) and issubclass(one, BaseModel):
            yield "", one
        elif origin is dict:
            yield from ((".NAME" + path, schema) for path, schema in _schemas(arguments[1]))
        elif origin is list:
            yield from (("[]" + path, schema) for path, schema in _schemas(arguments[0]))


def describe(annotation: Any, metadata: typing.Sequence[Any] = ()) -> str:
    """An annotation in a user's words, with its limits."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return describe(arguments[0], [*arguments[1:], *metadata])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(branch) for branch in arguments)
    if origin is typing.Literal:
        return ", ".join(show(value).removeprefix("the text ").strip("'") for value in arguments)
    if origin is list:
        return f"list of {describe(arguments[0])}" + _limits(metadata)
    if origin is dict:
        return "mapping" if arguments[1] is Any else f"mapping to {describe(arguments[1])}"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "mapping"
    return SIMPLE.get(annotation, "any value") + _limits(metadata)


def _limits(metadata: typing.Sequence[Any]) -> str:
    """` >= 1`, ` > 0, < 1` and the like."""
    parts: list[str] = []
    for one in metadata:
        if isinstance(one, FieldInfo):
            parts += [_limits(one.metadata).strip()]
        parts += [
            f"{sign} {getattr(one, name):g}" for name, sign in BOUNDS.items() if getattr(one, name, None) is not None
        ]
    text = ", ".join(part for part in parts if part)
    return f" {text}" if text else ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "needed"
    value = info.get_default(call_default_factory=True)
    return '""' if value == "" else show(value).removeprefix("the text ").strip("'")


def _meaning(schema: type[BaseModel], name: str, info: FieldInfo, path: str) -> str:
    if info.description:
        known = effective.KEYS.get(path)
        readers = f" [{effective.readers(known.by)}]" if known and known.by != effective.NEURAL else ""
        return info.description + readers
    if schema in (Task, Model) and concrete(info.annotation)[0] == dict[str, Any]:
        return f"keys of the section `{name}`; each beats the default"
    return ""
