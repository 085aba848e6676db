"""The BM25 of documents for queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import bm25s
import numpy as np
import polars as pl

from retune.data.kinds.texts import normalised

if TYPE_CHECKING:
    from retune.params import Params


def scores(collection: Sequence[str], frame: pl.DataFrame, options: Params) -> np.ndarray:
    """BM25 of every row's document for its query, float64 [rows]; `options` is the section `bm25`."""
    texts = frame.select(normalised(name) for name in ("query", "document"))
    place = {text: number for number, text in enumerate(dict.fromkeys([*collection, *texts["document"]]))}
    engine = bm25s.BM25(k1=options.k1, b=options.b, method="lucene")
    engine.index([words(text, options.ngrams) for text in place], show_progress=False)
    found = np.zeros(len(frame))
    rows: dict[str, list[int]] = {}
    for number, query in enumerate(texts["query"]):
        rows.setdefault(query, []).append(number)
    for query, numbers in rows.items():
        known = [word for word in words(query, options.ngrams) if word in engine.vocab_dict]
        if known:
            of_documents = engine.get_scores(known)
            found[numbers] = of_documents[[place[texts["document"][number]] for number in numbers]]
    return found


def words(text: str, ngrams: Sequence[int]) -> list[str]:
    """The character n-grams of a text, of all lengths from the first of `ngrams` to the second."""
    return [text[i : i + n] for n in range(ngrams[0], ngrams[1] + 1) for i in range(len(text) - n + 1)]
