"""Characters, and pairs of neighbouring ones, that stand in another split and never in train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import polars as pl

SHOWN = 20


def of(parts: dict[str, pl.DataFrame], texts: Sequence[str]) -> dict[str, Any]:
    """For each split but train: shares of characters, of pairs and of rows (those with an unseen character).

    Of the normalised texts. `most` are the most frequent unseen characters with their counts. Pairs of characters stand
    for words, which written Chinese does not part.
    """
    plain = {name: [list(part[f"plain_{i}"]) for i in range(len(texts))] for name, part in parts.items()}
    seen = _counts(plain["train"])
    found = {}
    for name, columns in plain.items():
        if name == "train":
            continue
        characters, pairs = _counts(columns)
        new = characters.keys() - seen[0].keys()
        rows = sum(any(not new.isdisjoint(text) for text in row) for row in zip(*columns, strict=True))
        most = sorted(((characters[c], c) for c in new), key=lambda pair: (-pair[0], pair[1]))[:SHOWN]
        found[name] = {
            "characters": _share(characters, seen[0]),
            "pairs": _share(pairs, seen[1]),
            "rows": round(rows / max(len(columns[0]), 1), 6),
            "most": [[character, count] for count, character in most],
        }
    return found


def _counts(columns: list[list[str]]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    characters: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for column in columns:
        for text in column:
            characters.update(text)
            pairs.update(pairwise(text))
    return characters, pairs


def _share(found: Counter[Any], seen: Counter[Any]) -> float:
    """The share of the occurrences in `found` whose value is not in `seen`."""
    return round(sum(count for value, count in found.items() if value not in seen) / max(found.total(), 1), 6)
