"""Hashes of texts that stay the same in every version of every library, unlike polars' own.

Choices by such a hash (of a seed and a row's id or group) never depend on other rows, nor on their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import polars as pl


def digest(text: str) -> str:
    """80 bits of BLAKE2b as 20 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def number(*key: object) -> int:
    """A whole number below 2**64 for a key."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest())


def numbers(count: int, *key: object) -> Iterable[int]:
    """`count` whole numbers below 2**64 for a key (SHAKE-128)."""
    stream = hashlib.shake_128(repr(key).encode()).digest(8 * count)
    return (int.from_bytes(stream[i : i + 8]) for i in range(0, len(stream), 8))


def digests(texts: pl.Expr) -> pl.Expr:
    """`digest` of every text of a column."""
    return texts.map_batches(lambda s: pl.Series(s.name, map(digest, s), pl.String), pl.String, is_elementwise=True)


def units(texts: pl.Expr, *key: object) -> pl.Expr:
    """An evenly spread number in [0, 1) for every text of a column and the key, Float64."""

    def unit(series: pl.Series) -> pl.Series:
        return pl.Series(series.name, [(number(*key, text) >> 11) * 2.0**-53 for text in series], pl.Float64)

    return texts.map_batches(unit, pl.Float64, is_elementwise=True)
