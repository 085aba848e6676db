"""What the values of one field look like: numbers, dates, hashes, a few names, or texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import polars as pl

FEW = 200
"""Distinct values up to which they are counted one by one: the most labels that a task may have."""

NUMBER = r"^\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*$"
DATE = r"^\s*\d{4}[-/.年]\d{1,2}([-/.月]\d{1,2}日?)?([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[-+]\d{2}:?\d{2})?\s*$"
URL = r"^\s*(https?|ftp)://\S+\s*$"
CODE = r"^[0-9a-fA-F]{16,}$|^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-|^\S*\d\S*[#_:-]\S*\d\S*$"
"""A hash, a UUID, or numbers that signs join."""
LIST = r"^\s*\["

MOST = 0.98
"""Share of the filled values that must have a form."""

WIDTH = 240
"""Characters of a text that are shown; what is left out is counted."""


@dataclass(frozen=True)
class Field:
    """One field of the records of a file: its name as a mapping gives it, counts, and what its values look like.

    `shape` is text, name (few short values), number, date, url, code (hashes, ids), list or empty; lengths are in
    characters; `values` has the counts of up to `FEW` distinct values, most frequent first.
    """

    name: str
    rows: int
    filled: int
    distinct: int
    mean: float
    longest: int
    shape: str
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    values: dict[str, int] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The parts of the last step of its name in lower case: `titleLeft.q_score` gives q, score."""
        last = self.name.removeprefix("$join.").rpartition(".")[2] or self.name
        parts = re.split(r"[^\w]+|_+|(?<=[a-z])(?=[A-Z])|(?<=\D)(?=\d)|(?<=\d)(?=\D)", last)
        return [part.lower() for part in parts if part]

    @property
    def unique(self) -> bool:
        """Whether every record has a value of its own."""
        return self.distinct == self.filled == self.rows and self.rows > 1

    @property
    def categorical(self) -> bool:
        """Whether its values are few and short enough to be labels."""
        few = bool(self.values) and 2 <= self.distinct <= self.filled / 2
        return few and self.mean <= 40 and self.shape not in ("date", "url")

    @property
    def is_text(self) -> bool:
        """Whether a person wrote its values, and they differ from row to row."""
        return self.shape == "text" or (self.shape == "list" and self.mean > 20)


def profile(frame: pl.DataFrame, name: str) -> Field:
    """Look at the column `name` (String) of a file's records."""
    text = pl.col(name).str.strip_chars()
    column = frame.select(pl.when(text != "").then(text).alias(name))[name]
    filled = column.drop_nulls()
    count = len(filled)
    if not count:
        return Field(name, frame.height, 0, 0, 0.0, 0, "empty")
    lengths = filled.str.len_chars()
    distinct = filled.n_unique()
    shape = _shape(filled, distinct, number(lengths.mean()))
    whole, low, high = False, 0.0, 0.0
    if shape == "number":
        numbers = filled.cast(pl.Float64, strict=False).drop_nulls()
        low, high = number(numbers.min()), number(numbers.max())
        whole = bool((numbers == numbers.round()).all())
    counts: dict[str, int] = {}
    if distinct <= FEW:
        ordered = filled.value_counts().sort(["count", name], descending=[True, False])
        counts = dict(zip(ordered[name].to_list(), ordered["count"].to_list(), strict=True))
    return Field(
        name, frame.height, count, distinct, number(lengths.mean()), int(number(lengths.max())),
        shape, whole, low, high, counts,
    )  # fmt: skip


def _shape(filled: pl.Series, distinct: int, mean: float) -> str:
    for shape, pattern in (("number", NUMBER), ("date", DATE), ("url", URL), ("list", LIST), ("code", CODE)):
        if number(filled.str.contains(pattern).mean()) >= MOST:
            return shape
    few = distinct <= FEW and (distinct <= 2 or len(filled) >= 3 * distinct) and mean <= 40
    return "name" if few else "text"


def number(statistic: Any) -> float:
    """A mean or the like of a numeric column, which polars types as any value that a column can hold; 0 of none."""
    return float(statistic or 0)


def scripts(texts: pl.Series) -> dict[str, float]:
    """Share of the texts by language, as far as their script tells: zh, ja, ko, ru, ar, Latin script; rounded."""
    patterns = {
        "ja": r"[\p{Hiragana}\p{Katakana}]", "ko": r"\p{Hangul}", "zh": r"\p{Han}", "ru (Cyrillic)": r"\p{Cyrillic}",
        "ar": r"\p{Arabic}", "Latin script": r"\p{Latin}",
    }  # fmt: skip
    language = pl.lit("other")
    for name, pattern in reversed(list(patterns.items())):
        language = pl.when(pl.col("text").str.contains(pattern)).then(pl.lit(name)).otherwise(language)
    counts = texts.to_frame("text").select(language.alias("l")).to_series().value_counts(sort=True)
    return {name: round(count / max(len(texts), 1), 3) for name, count in counts.iter_rows()}


def short(text: str, width: int = WIDTH) -> str:
    """A text in one line without control characters, its middle left out where it is long."""
    line = "".join(sign if sign.isprintable() else " " for sign in text.replace("\n", " ⏎ "))
    if len(line) <= width:
        return line
    half = width // 2
    return f"{line[:half]} ... [{len(line) - width:,} characters] ... {line[-half:]}"
