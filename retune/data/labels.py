"""Labels as numbers, and the table of predictions that every learner of labelled rows returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

RELEVANT = 0.5
"""From this relevance on a document counts as relevant where a metric, or an LLM's label, needs a yes or no."""


def codes(column: pl.Series, labels: Sequence[str]) -> np.ndarray:
    """The place of each label in `labels`, int64 [rows]."""
    place = {label: code for code, label in enumerate(labels)}
    return np.array([place[label] for label in column.cast(pl.String)], dtype=np.int64)


def names(count: int) -> tuple[str, ...]:
    """The columns of the probabilities of `count` labels, in the order of the labels."""
    return tuple(f"prob_{code}" for code in range(count))


def predictions(ids: pl.Series, log_probs: np.ndarray, labels: Sequence[str], truncated: np.ndarray) -> pl.DataFrame:
    """Columns id, label (the likeliest), prob_0 .. prob_K-1, truncated, from log-probabilities [rows, K]."""
    probabilities = np.exp(log_probs)
    table = {name: probabilities[:, code] for code, name in enumerate(names(len(labels)))}
    best = log_probs.argmax(axis=1) if len(log_probs) else np.zeros(0, dtype=np.int64)
    return pl.DataFrame(
        {
            "id": ids,
            "label": pl.Series([labels[code] for code in best], dtype=pl.String),
            **{name: pl.Series(values, dtype=pl.Float64) for name, values in table.items()},
            "truncated": pl.Series(truncated, dtype=pl.Boolean),
        }
    )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities in float64 of logits [rows, K]."""
    logits = logits.astype(np.float64)
    normalised: np.ndarray = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return normalised
