"""The page's words: each in both languages, with the same places to fill in."""

from __future__ import annotations

import string

import pytest

from retune.web.words import WORDS, preferred, say


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", WORDS)
def test_a_text_says_the_same_in_both_languages(key: str) -> None:
    english, chinese = WORDS[key]
    assert english.strip()
    assert chinese.strip()
    assert places(english) == places(chinese)


def test_the_language_is_the_first_of_the_browsers_that_there_is() -> None:
    assert preferred("zh-CN,zh;q=0.9,en;q=0.8") == "zh"
    assert preferred("fr-FR, en;q=0.5, zh;q=0.7") == "zh"
    assert preferred("de,en-GB;q=0.3") == "en"
    assert preferred("zh;q=0") == preferred("") == preferred("fr") == preferred("zh;q=many") == "en"
    assert say("zh", "rank") == "排序"
