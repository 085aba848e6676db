"""Which label a written answer names, where its probabilities can't be had: exact text first, then the one it holds."""

from __future__ import annotations

import re
from collections.abc import Sequence

OPEN, CLOSE = "<think>", "</think>"
"""The tags around thoughts; where a chat template writes the first one itself, an answer holds the second alone."""

SHORT = 3
"""An answer of fewer characters is taken only where it stands as a word of its own: `不是` does not say `是`."""


def read(text: str | None, answers: Sequence[str]) -> int | None:
    """The place of the answer that `text` gives; None where it gives none, or more than one.

    What stands before the last `</think>`, or behind a `<think>` that is not closed, is no answer. An answer inside a
    longer one that is found as well (`办理` in `办理取消`) does not count.
    """
    said = behind_thoughts(text or "")
    wanted = [answer.strip() for answer in answers]
    if said in wanted:
        return wanted.index(said)
    found = [answer for answer in wanted if answer in said and (_is_word(answer, said) or not answer.isascii())]
    longest = [answer for answer in found if not any(answer in other for other in found if other != answer)]
    if len(longest) != 1 or (len(longest[0]) < SHORT and not _is_word(longest[0], said)):
        return None
    return wanted.index(longest[0])


def behind_thoughts(text: str) -> str:
    """What follows the thoughts in a text, if there are any; empty where they do not end."""
    return text.rpartition(CLOSE)[2].partition(OPEN)[0].strip()


def _is_word(answer: str, text: str) -> bool:
    letter = r"[0-9A-Za-z]" if answer.isascii() else r"\w"  # `06` is a word in `06查询`, `是` is none in `不是`
    return re.search(rf"(?<!{letter}){re.escape(answer)}(?!{letter})", text) is not None
