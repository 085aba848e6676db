"""Pairs of similar texts: an exact join by the Jaccard index of their character pairs, without comparing all with all.

Texts with an index of at least `ALIKE` must share one of their rarest character pairs: the first
n - ceil(ALIKE * n) + 1 of n, ordered by how few texts have them (prefix filter: Bayardo, Ma and Srikant, 2007). So only
those are looked up, and what they find is compared in full. Nothing is left to chance, unlike with MinHash.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

import polars as pl

ALIKE = 0.7
"""From here on texts count as near-duplicates: in 12 characters one may differ, or one may have come or gone."""

Pairs = tuple[int, ...]
"""The distinct character pairs of a text as numbers, the rarest first."""


def grams(text: str) -> frozenset[str]:
    """The pairs of neighbouring characters, those with the start and the end of the text included."""
    return frozenset(a + b for a, b in pairwise(f"\x02{text}\x03"))


def numbered(texts: Iterable[str]) -> dict[str, Pairs]:
    """Every distinct text with its character pairs; their order is the same for all of them."""
    found = {text: grams(text) for text in texts}
    frequency = Counter(gram for pairs in found.values() for gram in pairs)
    ranks = {gram: rank for rank, gram in enumerate(sorted(frequency, key=lambda gram: (frequency[gram], gram)))}
    return {text: tuple(sorted(map(ranks.__getitem__, pairs))) for text, pairs in found.items()}


def join(left: Mapping[str, Pairs], right: Mapping[str, Pairs], alike: float = ALIKE) -> list[tuple[str, str, float]]:
    """Every pair of a text of `left` and one of `right` with a Jaccard index of at least `alike`, sorted.

    Both come from one call of `numbered`.
    """
    ours, theirs = list(left.items()), list(right.items())
    sought, known = _rarest(ours, alike), _rarest(theirs, alike)
    found: set[tuple[int, int]] = set()
    for part in sought.iter_slices(CHUNK):
        both = part.lazy().join(known.lazy(), on="pair", suffix="_2")
        # What two sets can share at most, if this is the first pair that they share, and what they must share.
        most = pl.min_horizontal(pl.col("size") - pl.col("place"), pl.col("size_2") - pl.col("place_2"))
        need = alike / (1 + alike) * (pl.col("size") + pl.col("size_2"))
        found.update(both.filter(most >= need - SLACK).select("text", "text_2").unique().collect().rows())
    result = []
    for i, j in found:
        (text, pairs), (other, against) = ours[i], theirs[j]
        shared = len(set(pairs).intersection(against))
        index = shared / (len(pairs) + len(against) - shared)
        if index >= alike - SLACK:
            result.append((text, other, index))
    return sorted(result)


CHUNK = 20_000  # rows of a join at once; a pair of characters may stand in a third of all texts
SLACK = 1e-9  # of floating point


def _rarest(texts: list[tuple[str, Pairs]], alike: float) -> pl.DataFrame:
    """The character pairs by which texts are found: text (its number), pair, its place, and how many the text has."""
    rows = [
        (number, pair, place, len(pairs))
        for number, (_, pairs) in enumerate(texts)
        for place, pair in enumerate(pairs[: len(pairs) - math.ceil(alike * len(pairs) - SLACK) + 1])
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("text", "pair", "place", "size"), pl.Int32), orient="row")
