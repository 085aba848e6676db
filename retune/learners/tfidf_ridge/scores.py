"""From documents and dimensions to scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.data import labels

if TYPE_CHECKING:
    from retune.learners.tfidf import Linear
    from retune.params import Params


def scores(linear: Linear, frame: pl.DataFrame, spec: Params) -> np.ndarray:
    """The score of every row, within the task's, float64 [rows]; `linear` has an output for each dimension."""
    if frame.is_empty():
        return np.zeros(0)
    codes = labels.codes(frame["dimension"], list(spec.dimensions))
    found = linear.vectors(frame["document"].to_list()) @ linear.weights + linear.bias
    return within(found, codes, spec)


def within(found: np.ndarray, codes: np.ndarray, spec: Params) -> np.ndarray:
    """Of scores [rows, dimensions] each row's own, within the task's, float64 [rows]."""
    inside: np.ndarray = np.clip(found[np.arange(len(codes)), codes], *spec.scores)
    return inside
