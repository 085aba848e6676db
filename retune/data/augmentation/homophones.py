"""Characters that sound the same, as slips of pinyin typing and of speech recognition exchange them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from retune import stable_hash


@cache
def alike() -> Mapping[str, tuple[str, ...]]:
    """Character -> the others with its most common reading, tone included.

    Only the 3,755 common characters (level 1 of GB 2312), so that no rare one is put in. Readings are pypinyin's.
    """
    from pypinyin import Style, lazy_pinyin

    by_reading: dict[str, list[str]] = {}
    for character in common():
        by_reading.setdefault(lazy_pinyin(character, style=Style.TONE3)[0], []).append(character)
    groups = [group for group in by_reading.values() if len(group) > 1]
    return {one: tuple(other for other in group if other != one) for group in groups for one in group}


def common() -> str:
    """The characters of level 1 of GB 2312, which its rows 16 to 55 hold."""
    places = [(row, cell) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
    return b"".join(bytes(place) for place in places if place < (0xD7, 0xFA)).decode("gb2312")


def known(text: str) -> list[int]:
    """The places of the characters that have a homophone."""
    others = alike()
    return [place for place, character in enumerate(text) if character in others]


def replaced(text: str, places: list[int], *key: object) -> str:
    """The text with other characters of the same sound at these places, chosen by a hash of the key."""
    others, characters = alike(), list(text)
    for place, number in zip(places, stable_hash.numbers(len(places), "homophone", *key), strict=True):
        choices = others[characters[place]]
        characters[place] = choices[number % len(choices)]
    return "".join(characters)
