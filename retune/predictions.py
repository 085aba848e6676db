"""A model's predictions beside the gold labels, and what counts as an answer.

An unparsed answer (null probabilities) is a wrong one, as sure of itself as can be: its decision is the other label,
with probability 1. So every metric, AUC and Brier included, is a lower bound of what parsing it could give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.calibration import calibrated, log_odds
from retune.errors import RetuneError
from retune.metrics import Answers

if TYPE_CHECKING:
    from retune.metrics import Floats

REMEDY = "run `dvc repro`, and delete the predictions if it stays"


def join_gold(rows: pl.DataFrame, predictions: pl.DataFrame, place: str) -> pl.DataFrame:
    """`rows` of a split in their order, with `prob_0` and `prob_1` of the predictions (null: unparsed).

    Raises `RetuneError`, naming `place`, for an empty split, for ids that only one side has, and for probabilities that
    are none.
    """
    if rows.is_empty():
        raise RetuneError(f"{place}: the split has no rows, so nothing can be measured; raise its share under `split`")
    double = predictions["id"].is_duplicated()
    if double.any():
        raise RetuneError(f"{place}: id `{predictions['id'].filter(double)[0]}` is predicted twice; {REMEDY}")
    for left, right, problem in (
        (rows, predictions, "no prediction for"),
        (predictions, rows, "the split has no row for"),
    ):
        lost = left.join(right, on="id", how="anti")["id"]
        if len(lost):
            raise RetuneError(f"{place}: {problem} {len(lost)} of {len(left)} ids, first `{lost[0]}`; {REMEDY}")
    joined = rows.join(predictions.select("id", "prob_0", "prob_1"), on="id", how="left", maintain_order="left")
    probabilities = pl.concat([joined["prob_0"], joined["prob_1"]]).drop_nulls()
    broken = probabilities.filter(probabilities.is_nan() | ~probabilities.is_between(0, 1))
    if len(broken):
        raise RetuneError(f"{place}: {broken[0]} is no probability; the model has diverged: lower its learning_rate")
    return joined


def parsed(joined: pl.DataFrame) -> pl.Series:
    """Which rows have an answer, [n] Boolean."""
    return (joined["prob_0"].is_not_null() & joined["prob_1"].is_not_null()).alias("parsed")


def answers(joined: pl.DataFrame, temperature: float, threshold: float) -> Answers:
    """Calibrated probabilities and decisions of joined rows [n]; an unparsed row is wrong with probability 1."""
    labels = joined["label"].to_numpy().astype(np.int64)
    probabilities: Floats = calibrated(log_odds(*_columns(joined, fill=0.5)), temperature)
    seen = parsed(joined).to_numpy()
    probabilities = np.where(seen, probabilities, 1.0 - labels)
    decisions = np.where(seen, probabilities >= threshold, 1 - labels).astype(np.int64)
    return Answers(labels, decisions, probabilities)


def _columns(joined: pl.DataFrame, fill: float) -> tuple[Floats, Floats]:
    first, second = (joined[name].fill_null(fill).to_numpy() for name in ("prob_0", "prob_1"))
    return first, second
