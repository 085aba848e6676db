"""Lessons: what a teacher says of the rows that a student learns from, joined to these by id.

A lesson is a list of numbers: the calibrated probabilities of the labels; of kind ranking the relevance, of kind
scoring the expected score. A row of which the teacher said nothing has null.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from retune.data import labels

if TYPE_CHECKING:
    from retune.params import Params

LESSON = "lesson"
"""The column of a student's rows."""

LESSONS, UNLABELLED, SUMMARY = "lessons.parquet", "unlabelled.parquet", "summary.json"
"""What the folder of a student's lessons holds: id and lesson; rows without a label; what they are, for people."""

LEAST = 0.01
"""Probabilities below this are left out where a row is taken once for each label: the copies would be too many."""

NONE = -1
"""The code of a row without a label."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def write(folder: Path, lessons: pl.DataFrame, unlabelled: pl.DataFrame, summary: dict[str, Any]) -> None:
    """Put them into a folder."""
    lessons.write_parquet(folder / LESSONS)
    unlabelled.write_parquet(folder / UNLABELLED)
    (folder / SUMMARY).write_text(json.dumps(summary, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def join(rows: pl.DataFrame, folder: Path) -> tuple[pl.DataFrame, str]:
    """The training rows with their lessons, and behind them the unlabelled ones, whose targets are null.

    The sentence says how many there are, for the record of the training.
    """
    lessons, more = (pl.read_parquet(folder / name) for name in (LESSONS, UNLABELLED))
    more = more.select(pl.col(name).cast(rows.schema[name]) for name in more.columns)
    every = pl.concat([rows, more], how="diagonal")
    found = every.join(lessons, on="id", how="left", maintain_order="left")
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    taught = int(found.head(len(rows))[LESSON].is_not_null().sum())
    said = f"{summary['teacher']} taught it {taught:,} of {len(rows):,} training rows"
    return found, f"{said} and {len(more):,} without a label."


def weight(spec: Params) -> float:
    """The share of the teacher in the loss; 0 of a model without one."""
    return float(spec.get("teacher", {}).get("weight", 0.0))


def codes(column: pl.Series, names: Sequence[str]) -> Integers:
    """The place of each label among the names, `NONE` where there is no label [rows]."""
    found = np.full(len(column), NONE, dtype=np.int64)
    known = column.is_not_null()
    found[known.to_numpy()] = labels.codes(column.filter(known), names)
    return found


def table(rows: pl.DataFrame, width: int = 1) -> Floats:
    """The lessons [rows, width]; NaN where the teacher said nothing."""
    found = np.full((len(rows), width), np.nan)
    known = rows[LESSON].is_not_null()
    if known.any():
        found[known.to_numpy()] = np.array(rows[LESSON].filter(known).to_list(), dtype=np.float64)
    return found


def softened(chances: Floats, temperature: float) -> Floats:
    """Probabilities [rows, K] at a temperature; rows of NaN stay."""
    return np.exp(labels.log_softmax(np.log(np.maximum(chances, 1e-15)) / temperature))


def as_weighted_rows(
    gold: Integers, chances: Floats, teacher: Params, of_class: Floats | None = None
) -> tuple[Integers, Integers, Floats]:
    """Rows with soft labels as rows with one label each: (row, code, weight), for learners that know no others.

    A row with a label counts 1 - w with it, and w * p with each label to which the teacher gives the probability p at
    its temperature, in all 1; one without a label counts w. `of_class` [K] weighs the labels of the data, not the
    teacher's. Probabilities below `LEAST` are left out.
    """
    labelled, told = np.flatnonzero(gold != NONE), np.flatnonzero(~np.isnan(chances[:, 0]))
    soft = softened(chances[told], teacher.temperature)
    soft = np.where(soft < LEAST, 0.0, soft)
    soft = soft / soft.sum(1, keepdims=True)
    row, code = np.nonzero(soft)
    rows = np.concatenate([labelled, told[row]])
    own = np.full(len(labelled), 1.0 - teacher.weight) * (1.0 if of_class is None else of_class[gold[labelled]])
    weights = np.concatenate([own, teacher.weight * soft[row, code]])
    seen = weights > 0
    return rows[seen], np.concatenate([gold[labelled], code])[seen], weights[seen]
