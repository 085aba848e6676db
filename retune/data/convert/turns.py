"""One turn of a conversation: a list of `{role, content}` (messages), or of `{from, value}` (ShareGPT)."""

from __future__ import annotations

from typing import Any

import polars as pl

from retune.data.convert import json_text

LAST = "last"
"""The last turn, whoever has it."""

ROLES = {"human": "user", "gpt": "assistant"}
"""Names of ShareGPT -> the role."""


def turn(value: pl.Expr, wanted: str) -> pl.Expr:
    """The text of the last turn, or of the last one of a role, in the JSON text of a list; null where there is none."""
    return value.map_batches(
        lambda texts: pl.Series(texts.name, [_turn(text, wanted) for text in texts], pl.String),
        pl.String,
        is_elementwise=True,
    )


def named(wanted: str) -> str:
    """What is looked for, in words."""
    return "last turn in a list of turns" if wanted == LAST else f"turn of `{wanted}` in a list of turns"


def _turn(text: str | None, wanted: str) -> str | None:
    try:
        turns = json_text.loads(text) if text else None
    except ValueError:
        return None
    found = [one for one in turns if isinstance(one, dict)] if isinstance(turns, list) else []
    if wanted != LAST:
        found = [one for one in found if _role(one) == ROLES.get(wanted, wanted)]
    return _content(found[-1]) if found else None


def _role(one: dict[str, Any]) -> Any:
    role = one.get("role", one.get("from"))
    return ROLES.get(role, role) if isinstance(role, str) else role


def _content(one: dict[str, Any]) -> str | None:
    """The text of a turn; of a list of parts, those that are texts, one behind another."""
    content = one.get("content", one.get("value"))
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str) or json_text.SURROGATE.search(content):
        return None
    return content
