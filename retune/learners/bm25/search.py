"""The BM25 of documents for queries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.data.kinds.texts import normalised

if TYPE_CHECKING:
    from retune.params import Params


def scores(collection: Sequence[str], frame: pl.DataFrame, options: Params) -> np.ndarray:
    """BM25 of every row's document for its query, float64 [rows]; `options` is the section `bm25`.

    The rarity of a word and the mean length are those of `collection` alone, so a row's score does not depend on the
    rows beside it.
    """
    texts = frame.select(normalised(name) for name in ("query", "document"))
    counted = [words(text, options.ngrams) for text in collection]
    having = Counter(word for found in counted for word in set(found))
    mean = sum(map(len, counted)) / max(len(counted), 1) or 1.0

    @cache
    def document(text: str) -> tuple[Counter[str], float]:
        found = words(text, options.ngrams)
        return Counter(found), options.k1 * (1 - options.b + options.b * len(found) / mean)

    @cache
    def query(text: str) -> list[tuple[str, float]]:
        number = len(counted)
        return [(w, math.log(1 + (number - having[w] + 0.5) / (having[w] + 0.5))) for w in words(text, options.ngrams)]

    def score(asked: str, text: str) -> float:
        times, norm = document(text)
        return sum(rarity * times[word] / (times[word] + norm) for word, rarity in query(asked) if word in times)

    return np.array([score(*row) for row in texts.iter_rows()], dtype=np.float64)


def words(text: str, ngrams: Sequence[int]) -> list[str]:
    """The character n-grams of a text, of all lengths from the first of `ngrams` to the second."""
    return [text[i : i + n] for n in range(ngrams[0], ngrams[1] + 1) for i in range(len(text) - n + 1)]
