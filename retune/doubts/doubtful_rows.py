"""Training rows ranked by how surely all models that did not see them disagree with their label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import SGDClassifier
from threadpoolctl import threadpool_limits

from retune import stable_hash
from retune.data import kinds, labels
from retune.doubts import confident_learning, out_of_fold, views

if TYPE_CHECKING:
    from retune.params import Params

STEPS, PASSES = 16_000, (3, 8)
"""Rows that the linear model sees in one fit, in at least and at most so many passes."""


@dataclass(frozen=True)
class Doubts:
    """`table`: a row for each judged training row, the most doubtful first; `summary`: counts, as JSON.

    Columns: id, label, likeliest (the label that the models prefer), surety (how far they believe the label, see
    `confident_learning.surety`), and for each model its probability of the label, `by_MODEL`.
    """

    table: pl.DataFrame
    summary: dict[str, Any]


def find(train: pl.LazyFrame, spec: Params, bases: Path) -> Doubts | None:
    """Judge the original rows of `train`, about `spec.doubts` of more (by hash); None where nothing can be judged.

    `spec` is a task's section `exploration`; the base of its first reader that is a folder with word embeddings gives
    the second view. Only training rows are judged: labels of test rows corrected where models doubt them would flatter
    these models.
    """
    original = train.filter(pl.col("origin") == "original").select("id", "group", *kinds.of(spec.kind).TEXTS, "label")
    every = original.select(pl.len()).collect().item()
    if every > spec.doubts:
        original = original.filter(stable_hash.units(pl.col("id"), "doubts") < spec.doubts / every)
    rows = original.collect(engine="streaming")
    codes = labels.codes(rows["label"], spec.labels)
    folds = out_of_fold.folds_of(codes, rows["group"].to_list())
    if not folds:
        return None
    with threadpool_limits(limits=1, user_api="blas"):  # sums of several threads depend on how many there are
        found = _judged(rows, spec, codes, folds, bases)
    known = ~np.isnan(np.sum(list(found.values()), axis=(0, 2)))
    if not known.any():
        return None
    codes, rows = codes[known], rows.filter(pl.Series(known))
    judged = {name: one[known] for name, one in found.items()}
    mean = np.mean(list(judged.values()), axis=0)
    place = np.arange(len(codes))
    table = pl.DataFrame(
        {
            "id": rows["id"],
            "label": rows["label"].cast(pl.String),
            "likeliest": pl.Series([spec.labels[code] for code in mean.argmax(axis=1)], dtype=pl.String),
            "surety": confident_learning.surety(codes, list(judged.values())),
            **{f"by_{name}": one[place, codes] for name, one in judged.items()},
        }
    ).sort("surety", "id")
    summary = {
        "rows": every,
        "looked_at": len(known),
        "judged": len(codes),
        "models": list(judged),
        "agreement": round(float((mean.argmax(axis=1) == codes).mean()), 6),
        "expected": round(confident_learning.expected_wrong(codes, mean)),
    }
    return Doubts(table, summary)


def _judged(
    rows: pl.DataFrame, spec: Params, codes: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], bases: Path
) -> dict[str, np.ndarray]:
    """Out-of-fold probabilities [n, labels] by model."""
    texts = [rows[column].cast(pl.String).to_list() for column in kinds.of(spec.kind).TEXTS]
    count = len(spec.labels)
    found = {"ngrams": out_of_fold.probabilities(views.ngrams(spec.kind, texts), codes, count, folds, _linear)}
    for base in dict.fromkeys(reader.base for reader in spec.readers):
        if (features := views.embeddings(bases / base, texts)) is not None:
            found["embeddings"] = out_of_fold.probabilities(features, codes, count, folds, _discriminant)
            break
    return found


def _linear(rows: int) -> SGDClassifier:
    """Logistic regression by averaged gradient steps: of 34 labels in a tenth of the time that an exact fit takes."""
    passes = min(max(STEPS // rows, PASSES[0]), PASSES[1])
    return SGDClassifier(loss="log_loss", alpha=1e-5, average=True, max_iter=passes, tol=None, random_state=0)


def _discriminant(rows: int) -> LinearDiscriminantAnalysis:
    del rows
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
