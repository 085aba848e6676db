"""The groups of the rows: what is resampled and swapped whole, and what is said where there are few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retune.evaluation.weighted import Integers

if TYPE_CHECKING:
    import polars as pl

FEW = 20
"""Groups below which intervals are rough, however many rows there are (docs/statistics.md)."""


def codes(groups: pl.Series) -> Integers:
    """Give each row the number of its group by name, [n] from 0 on, so that the order of the rows does not matter."""
    return (groups.rank("dense").to_numpy() - 1).astype(np.int64)


def beside(first: Integers | None, second: Integers | None, rows: int) -> Integers:
    """The groups [2n] of two models' answers to the same n rows, as groups of their own (None: each row is one)."""
    one, other = (np.arange(rows) if given is None else given for given in (first, second))
    return np.concatenate([one, other + one.max(initial=-1) + 1])


def least_p(groups: int) -> float:
    """The smallest p that swapping whole groups can give: of 2 to the power of `groups` swaps, two say the most."""
    return min(1.0, 2.0 ** (1 - groups))


def shortage(groups: int, confidence: float) -> str | None:
    """A sentence where the test split has few groups."""
    if groups >= FEW:
        return None
    few = f"The test split has only {groups} group{'s' if groups != 1 else ''}"
    if groups == 1:
        return f"{few}: there are no intervals, and no difference between models can be shown."
    if least_p(groups) > 1 - confidence:
        return f"{few}: intervals are rough, and no p can fall below {least_p(groups):.3g}."
    return (
        f"{few}: intervals are rough. Those of figures near the end of their range (an accuracy or AUC near 1) hold "
        "the truth less often than they say."
    )
