"""From the vectors of a text, or of a pair of them, to the log-probabilities of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy import sparse

from retune.data import kinds, labels

if TYPE_CHECKING:
    from retune.learners.tfidf import Linear
    from retune.params import Params


def features(texts: Sequence[Any]) -> Any:
    """From one sparse matrix [rows, n-grams] for each text of a row to [rows, features].

    Of a single text the matrix itself; of two [rows, 2 * n-grams + 2]: |a - b|, a * b, the cosine and its square.
    """
    if len(texts) == 1:
        return texts[0]
    a, b = texts
    shared = a.multiply(b)
    cosine = sparse.csr_matrix(shared.sum(axis=1))
    return sparse.hstack([abs(a - b), shared, cosine, cosine.power(2)], format="csr")


def log_probs(linear: Linear, frame: pl.DataFrame, spec: Params) -> np.ndarray:
    """Log-probabilities of the labels, float64 [rows, labels]."""
    vectors = [linear.vectors(frame[column].to_list()) for column in kinds.of(spec.kind).TEXTS]
    return labels.log_softmax(features(vectors) @ linear.weights + linear.bias)
