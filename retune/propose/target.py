"""Which field is the label, the score or the relevance; and labels that stand inside a text."""

from __future__ import annotations

import re

import polars as pl

from retune.propose import vocabulary as words
from retune.propose.field import Field

CLOSE = 1.0
"""Points apart at which the choice between two fields is told as one that may be wrong."""

LEAST = 1.0
"""Points that a field must have to be a label."""

INSIDE = (
    (r"(?s).*<label>\s*(.*?)\s*</label>", r"(?s)(.*)<label>"),
    (r"(?s).*<answer>\s*(.*?)\s*</answer>", r"(?s)(.*)<answer>"),
    (r"(?s)</think>\s*(.{1,40}?)\s*$", r"(?s)<think>(.*)</think>"),
    (r"(?s).*(?:答案|结论|判断|label|answer)\s*[:：是]\s*(\S{1,20}?)\s*[。.]?\s*$", None),
    (r"^(\w{1,20})[.,:;。，：；!！]", r"(?s)^\w{1,20}[.,:;。，：；!！]\s*(.+)$"),
)
"""Regular expressions for a label inside a text, with the one for the reasoning beside it."""


def points(field: Field, last: bool) -> float:
    """How much a field looks like what a model shall predict."""
    if not field.categorical and not (field.shape == "number" and words.has(field, words.SCORE | words.RELEVANCE)):
        return -1.0
    if field.filled < 0.5 * field.rows or (field.shape == "code" and field.distinct > 20) or field.shape == "list":
        return -1.0
    found = 0.0
    if words.is_named(field, words.SURE_LABEL | words.RELEVANCE):
        found += 4
    elif words.is_named(field, (words.LABEL - words.GROUP) | words.SCORE):
        found += 3
    elif words.has(field, words.LABEL | words.SCORE | words.RELEVANCE):
        found += 2
    if words.has(field, words.NO_LABEL) or words.is_named(field, words.SPLIT):
        found -= 3
    if field.filled >= 5 * field.distinct:
        found += 1
    if field.distinct == 2:
        found += 0.5
    if field.shape == "number" and not field.whole and not words.has(field, words.SCORE | words.RELEVANCE):
        found -= 1
    return found + (0.5 if last else 0)


def choose(fields: list[Field], frame: pl.DataFrame) -> tuple[Field | None, list[Field]]:
    """The field that is the target (None: there is none), and others that might be it."""
    rated = [(points(field, place == len(fields) - 1), field) for place, field in enumerate(fields)]
    rated = sorted((one for one in rated if one[0] >= LEAST), key=lambda one: -one[0])
    if not rated:
        return None, []
    best, chosen = rated[0]
    for _, other in rated[1:]:
        if _same_but_named(chosen, other, frame):  # an id, and its name
            return (chosen if chosen.shape != "number" else other), []
    close = [field for value, field in rated[1:] if best - value < CLOSE]
    return chosen, close


def _same_but_named(a: Field, b: Field, frame: pl.DataFrame) -> bool:
    """Whether two fields say the same, one by numbers and one by names."""
    if a.distinct != b.distinct or a.distinct < 2 or (a.shape == "number") == (b.shape == "number"):
        return False
    return frame.select(pl.struct(a.name, b.name).n_unique()).item() == a.distinct


def inside(fields: list[Field], frame: pl.DataFrame) -> tuple[Field, str, str | None, dict[str, int]] | None:
    """(field, regex of the label, regex of the reasoning, counts of the labels) of a label inside a text, if any."""
    for field in fields:
        if field.shape not in ("text", "list"):
            continue
        filled = frame[field.name].drop_nulls()
        for label, reasoning in INSIDE:
            found = filled.str.strip_chars().str.extract(label, 1).drop_nulls()
            distinct = found.n_unique()
            if len(found) < 0.99 * len(filled) or not 2 <= distinct <= 20 or len(found) < 5 * distinct:
                continue
            counts = found.value_counts(sort=True)
            return field, label, reasoning, dict(zip(counts.to_series(0), counts.to_series(1), strict=True))
    return None


def template(texts: pl.Series) -> tuple[str, str] | None:
    """Regular expressions of the two texts in a prompt that every row fills alike; None where rows have no such form.

    What all rows begin and end with, and one stretch between that all share, stand around the texts.
    """
    rows = texts.drop_nulls().unique(maintain_order=True).head(400).to_list()
    if len(rows) < 20:
        return None
    start = _common(rows)
    end = _common([row[::-1] for row in rows])[::-1]
    inner = [row[len(start) : len(row) - len(end)] for row in rows]
    between = _shared(inner)
    if between is None or len(start) + len(between) < 12:
        return None
    # a digit, or a word, that happens to be common to the rows looked at, is part of a text
    first = f"(?s)^{re.escape(start)}(.*?){re.escape(between)}"
    second = f"(?s)^{re.escape(start)}.*?{re.escape(between)}(.*){re.escape(end)}$"
    return _plain(first), _plain(second)


def _plain(pattern: str) -> str:
    """Without the backslashes before spaces and quotes, which Rust's expressions don't know."""
    return re.sub(r"\\([^\w.^$*+?()\[\]{}|\\])", r"\1", pattern)


def _common(rows: list[str]) -> str:
    """What all begin with."""
    low, high = min(rows), max(rows)
    size = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:size]


def _shared(rows: list[str]) -> str | None:
    """The longest stretch of at least 4 characters that stands exactly once in every row, inside of it."""
    shortest = min(rows, key=len)
    for size in range(min(len(shortest) - 2, 200), 3, -1):
        for place in range(1, len(shortest) - size):
            part = shortest[place : place + size]
            if all(row.count(part) == 1 for row in rows):
                return part
    return None
