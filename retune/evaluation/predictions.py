"""A model's predictions beside the rows of their split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from retune import stable_hash
from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind

PROBABILITIES = ("prob_", "direct_prob_")
REMEDY = "run `dvc repro`, and delete the predictions if it stays"


def join(rows: pl.DataFrame, predictions: pl.DataFrame, columns: Sequence[str], place: str) -> pl.DataFrame:
    """`rows` of a split in their order, with the columns of the predictions; `parsed` where none of `columns` is null.

    A column that both have is the prediction's under `predicted_NAME`. Raises `RetuneError`, naming `place`, for an
    empty split, for ids that only one side has, and for probabilities that are none.
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
    numbers = predictions.select(column for column in predictions.columns if column.startswith(PROBABILITIES))
    for values in numbers.iter_columns():
        broken = values.filter(values.is_not_null() & (values.is_nan() | ~values.is_between(0, 1)))
        if len(broken):
            raise RetuneError(
                f"{place}: {broken[0]} is no probability; the model has diverged: lower its learning_rate"
            )
    found = predictions.select(
        "id",
        *(
            pl.col(name).alias(f"predicted_{name}") if name in rows.columns else pl.col(name)
            for name in predictions.columns
            if name != "id"
        ),
        parsed=pl.all_horizontal(pl.col(column).is_not_null() for column in columns),
    )
    return rows.join(found, on="id", how="left", maintain_order="left")


def limited(rows: pl.DataFrame, limit: int | None, kind: Kind) -> pl.DataFrame:
    """About `limit` rows (`evaluation.limit`) of a test split, chosen by a hash of the kind's `UNIT`, in order.

    Rows with the same value of `UNIT` stay together, so there may be more by one such value.
    """
    if limit is None or len(rows) <= limit:
        return rows
    return rows.filter(rows.select(stable_hash.units(pl.col(kind.UNIT), "limit").rank("min") <= limit).to_series())
