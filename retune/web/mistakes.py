"""Which labels a model mixes up, and what a threshold gives, both by its stored predictions."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

SHOWN = 3


@dataclass(frozen=True)
class Confused:
    """Another label: rows called the chosen one that are `other`, and rows of the chosen one that were called it."""

    other: str
    there: int
    back: int


@dataclass(frozen=True)
class Confusion:
    """What is known of a label: all rows, those called so, the right ones of these, and labels mixed up with it."""

    rows: int
    called: int
    right: int
    others: list[Confused]


@dataclass(frozen=True)
class Measured:
    """Precision and recall of the second label at a threshold; None where they are 0 of 0."""

    rows: int
    precision: float | None
    recall: float | None


def confusion(seen: pl.DataFrame, label: str) -> Confusion:
    """The labels that are mixed up with `label` most, either way round; `seen` has the columns truth and label."""
    wrong = seen.filter(pl.col("truth") != pl.col("label"))
    there = wrong.filter(pl.col("label") == label).group_by(other="truth").agg(there=pl.len())
    back = wrong.filter(pl.col("truth") == label).group_by(other="label").agg(back=pl.len())
    joined = there.join(back, on="other", how="full", coalesce=True).with_columns(pl.col("there", "back").fill_null(0))
    ranked = joined.sort(pl.col("there") + pl.col("back"), "there", "other", descending=[True, True, False])
    others = [Confused(**row) for row in ranked.head(SHOWN).to_dicts()]
    called = seen.filter(pl.col("label") == label)
    return Confusion(len(seen), len(called), int((called["truth"] == label).sum()), others)


def measure(calibration: pl.DataFrame, label: str, threshold: float) -> Measured:
    """What `label` decided from a probability of `threshold` on gives on the calibration rows."""
    called, true = calibration[f"prob_{label}"] >= threshold, calibration["truth"] == label
    hits = int((called & true).sum())
    precision = hits / int(called.sum()) if called.any() else None
    recall = hits / int(true.sum()) if true.any() else None
    return Measured(len(calibration), precision, recall)
