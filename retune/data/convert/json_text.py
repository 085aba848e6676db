"""JSON texts where Python's parser and polars' part: half surrogate pairs, huge numbers, deep nesting, NaN."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl

DEEP = 127
"""Levels that polars' parser goes down."""

LARGE = r"\d{20}"
"""What a whole number beyond 64 bits has; polars would round it."""

ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
"""A whole surrogate pair, half a pair, or any other escape."""

SURROGATE = re.compile("[\ud800-\udfff]")


def loads(text: str) -> Any:
    """The value of a JSON text, whole numbers beyond 64 bits as texts; raises `ValueError` with reason and place."""
    try:
        return json.loads(text, parse_int=_whole, parse_constant=_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None


def dumps(value: Any) -> str:
    """A JSON text in UTF-8, which half a surrogate pair has no place in: raises `ValueError` there."""
    text = json.dumps(value, ensure_ascii=False)
    if SURROGATE.search(text):
        raise ValueError(_half(json.dumps(value)))
    return text


def why_broken(text: str) -> str:
    """What polars' parser has against a text that it does not read."""
    if text.rstrip().endswith("},"):
        return "a comma after the object"
    try:
        dumps(loads(text))
    except ValueError as error:
        return str(error) if "surrogate" not in str(error) else _half(text)
    depth = deepest = 0
    for character in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return f"it is nested more than {DEEP} levels deep" if deepest > DEEP else "a number is too large"


def exact(texts: pl.Expr) -> pl.Expr:
    """JSON texts with whole numbers beyond 64 bits as texts, so that no digit of an id is lost; others as they are."""
    return texts.map_batches(_exact, pl.String, is_elementwise=True)


def _exact(texts: pl.Series) -> pl.Series:
    if not texts.str.contains(LARGE).any():
        return texts
    return pl.Series(texts.name, [_quoted(text) for text in texts], pl.String)


def _quoted(text: str | None) -> str | None:
    if text is None or not re.search(LARGE, text):
        return text
    try:
        return dumps(loads(text))
    except ValueError:
        return text


def _half(text: str) -> str:
    """Where an escaped half of a surrogate pair stands in a JSON text."""
    for escape in ESCAPE.finditer(text):
        if escape["half"]:
            return f"half a surrogate pair, `{escape[0]}`, at character {escape.start() + 1}"
    return "half a surrogate pair"


def _whole(digits: str) -> int | str:
    """A whole number, or its text where it has more than 64 bits (Python limits the length of what it parses, too)."""
    return digits if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64 else int(digits)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no value of JSON")
