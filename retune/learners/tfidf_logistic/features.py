"""From a text, or a pair of them, to the log-probabilities of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy import sparse

from retune.data import kinds, labels

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

    from retune.learners.tfidf import Linear
    from retune.params import Params


def features(vectorizer: TfidfVectorizer, frame: pl.DataFrame, spec: Params) -> Any:
    """The sparse matrix [rows, n-grams] of a text, or [rows, 2 * n-grams + 2] of a pair: |a - b|, a * b, cosine, ..."""
    texts = [vectorizer.transform(frame[column].to_list()) for column in kinds.of(spec.kind).TEXTS]
    if len(texts) == 1:
        return texts[0]
    a, b = texts
    shared = a.multiply(b)
    cosine = sparse.csr_matrix(shared.sum(axis=1))
    return sparse.hstack([abs(a - b), shared, cosine, cosine.power(2)], format="csr")


def log_probs(linear: Linear, frame: pl.DataFrame, spec: Params) -> np.ndarray:
    """Log-probabilities of the labels, float64 [rows, labels]."""
    return labels.log_softmax(features(linear.vectorizer, frame, spec) @ linear.weights + linear.bias)
