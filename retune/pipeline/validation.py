"""From pydantic's errors to one line each: file, line, key path, value, what is allowed, the nearest known key."""

from __future__ import annotations

import types
import typing
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from retune.errors import nearest, unknown
from retune.pipeline.yaml_file import Document, Keys

Schema = TypeVar("Schema", bound=BaseModel)

NAMES = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "dict": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "model": "a mapping",
    "none_required": "null",
}
"""Pydantic's names of types (the stems of its error types), as a user of YAML says them."""


def check(schema: type[Schema], value: Any, document: Document, at: Keys = ()) -> Schema | None:
    """Validate the value at `at`; every problem goes to the document, and the result is then None."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        for keys, text in messages(schema, value, error):
            document.problem((*at, *keys), text)
        return None


def salvage(schema: type[Schema], value: Any) -> Schema | None:
    """The value without its wrong keys, so that what depends on the rest is checked too; None if too little is left."""
    for _ in range(2):
        try:
            return schema.model_validate(value)
        except ValidationError as error:
            wrong = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
            value = {k: v for k, v in value.items() if k not in wrong} if isinstance(value, dict) else {}
    return None


def messages(schema: type[BaseModel], value: Any, error: ValidationError) -> list[tuple[Keys, str]]:
    """(key path, sentence) of each distinct problem."""
    found: dict[Keys, list[Any]] = {}
    for one in error.errors(include_url=False):
        found.setdefault(path_of(value, one["loc"], one["type"] == "missing"), []).append(one)
    lines = []
    for keys, errors in found.items():
        deeper = any(len(other) > len(keys) and other[: len(keys)] == keys for other in found)
        if deeper and all(_type_name(e) for e in errors):
            continue  # the other branches of a union, one of which went further
        lines.append((keys, _gone(schema, value, keys, errors) or _sentence(schema, keys, errors)))
    return lines


def path_of(value: Any, loc: tuple[int | str, ...], missing: bool) -> Keys:
    """The real key path of a pydantic location, which also names branches of unions and `[key]`."""
    keys: list[str] = []
    for number, part in enumerate(loc):
        is_key = isinstance(value, dict) and part in value
        if is_key or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        elif not (missing and number == len(loc) - 1):
            continue
        keys.append(str(part))
    return tuple(keys)


def _type_name(error: Any) -> str | None:
    """What a type error wanted, in a user's words; None for an error of another sort."""
    kind = error["type"]
    for ending in ("_type", "_parsing", "_from_float"):
        if kind.endswith(ending):
            return NAMES.get(kind.removesuffix(ending))
    return NAMES.get(kind)


def _gone(schema: type[BaseModel], value: Any, keys: Keys, errors: list[Any]) -> str | None:
    """What to write instead of a key that is no more; None for any other."""
    if keys[-1:] != ("gradient_accumulation",) or "batch_size" not in known_keys(schema, keys[:-1]):
        return None
    section = value
    for key in keys[:-1]:
        section = section[key]
    rows, passes = section.get("batch_size", 32), errors[0]["input"]
    numbers = [one for one in (rows, passes) if isinstance(one, int)]
    instead = f"batch_size: {rows * passes} ({rows} x {passes})" if len(numbers) == 2 else "batch_size x its value"
    return (
        "is no more: batch_size counts the rows of a step, which takes as many forward passes as packed_tokens asks "
        f"for; write {instead}, and take this line out"
    )


def _sentence(schema: type[BaseModel], keys: Keys, errors: list[Any]) -> str:
    first = errors[0]
    value, context = first["input"], first.get("ctx", {})
    shown = show(value)
    match first["type"]:
        case "extra_forbidden":
            return unknown("key", keys[-1], known_keys(schema, keys[:-1]))
        case "missing":
            return "is missing"
        case "string_pattern_mismatch" if "[key]" in first["loc"]:
            return "a name may have letters, digits, _ and - only (a dot would break `-S` and dvc.yaml)"
        case "string_pattern_mismatch":
            return f"is {shown}, but must match {context['pattern']}"
        case "value_error":
            return str(context["error"])
        case "too_long" | "too_short" if len(errors) == 1:
            return f"has {_entries(context['actual_length'])}, but must have {_least_or_most(context)}"
    allowed = list(dict.fromkeys(_type_name(e) or _limit(e) for e in errors))
    text = f"is {shown}, but must be {' or '.join(allowed)}"
    if NAMES["string"] in allowed and isinstance(value, int | float):
        text += "; put it in quotes"
    if first["type"] == "literal_error" and isinstance(value, str):
        text += nearest(value, literals(first))
    return text


def _limit(error: Any) -> str:
    """What a value must be, from pydantic's message."""
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"])
    if error["type"] in ("too_long", "too_short"):
        return f"a list of {_least_or_most(error['ctx'])}"
    text = error["msg"].removeprefix("String should have ")
    for start in ("Input should be ", "Value should be "):
        text = text.removeprefix(start)
    return str(text)


def _least_or_most(context: dict[str, Any]) -> str:
    most = "max_length" in context
    return f"at {'most' if most else 'least'} {_entries(context['max_length' if most else 'min_length'])}"


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def literals(error: Any) -> list[str]:
    """The allowed values of a literal error."""
    return [part.strip("' ") for part in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]


def show(value: Any) -> str:
    """A value as it would stand in YAML, shortened."""
    text = (
        {True: "true", False: "false", None: "null"}.get(value)
        if value is None or value is True or value is False
        else None
    )
    text = text or (f"the text '{value}'" if isinstance(value, str) else str(value))
    return text if len(text) <= 80 else text[:77] + "..."


def known_keys(schema: type[BaseModel], keys: Keys) -> list[str]:
    """The keys that a schema knows below a key path."""
    candidates = concrete(schema)
    for part in keys:
        candidates = [inner for one in candidates for inner in _below(one, part)]
    return [name for one in candidates if _is_schema(one) for name in fields(one)]


def fields(schema: type[BaseModel]) -> dict[str, Any]:
    """Key -> pydantic field; a key is the alias where there is one."""
    return {info.alias or name: info for name, info in schema.model_fields.items()}


def concrete(annotation: Any) -> list[Any]:
    """An annotation without `Annotated`, with the branches of a union apart."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return concrete(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for branch in typing.get_args(annotation) for inner in concrete(branch)]
    return [annotation]


def _is_schema(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _below(annotation: Any, part: str) -> list[Any]:
    if _is_schema(annotation):
        info = fields(annotation).get(part)
        return concrete(info.annotation) if info else []
    arguments = typing.get_args(annotation)
    return concrete(arguments[-1]) if arguments and typing.get_origin(annotation) in (dict, list) else []
