"""Probabilities of each row's labels by models that saw no row of its group."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

FOLDS = 5

Make = Callable[[int], Any]
"""A new classifier of scikit-learn for so many rows."""


def folds_of(codes: np.ndarray, groups: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows to fit on, rows held out), groups kept whole; none where the rows have one label or one group."""
    most = int(np.bincount(codes).max()) if len(codes) else 0
    count = min(FOLDS, len(set(groups)), most)
    if count < 2 or len(np.unique(codes)) < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer rows than folds: `probabilities` says which
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=0)
        return list(folds.split(np.zeros(len(codes)), codes, groups))


def probabilities(
    features: Any, codes: np.ndarray, labels: int, folds: Sequence[tuple[np.ndarray, np.ndarray]], make: Make
) -> np.ndarray:
    """float64 [n, labels]: each row by the model of the other folds, of `features` [n, width], sparse or dense.

    NaN for a row whose label no row of the other folds has: no such model can know it.
    """
    found = np.zeros((len(codes), labels))
    for fit, held in folds:
        if len(seen := np.unique(codes[fit])) < 2:
            found[held] = np.nan
            continue
        model = make(len(fit)).fit(features[fit], codes[fit])
        part = np.zeros((len(held), labels))
        part[:, model.classes_] = model.predict_proba(features[held])
        part[~np.isin(codes[held], seen)] = np.nan
        found[held] = part
    return found
