"""Train on yes and no as the answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.data import labels, queries
from retune.evaluation import ranking_dev_metrics
from retune.learners.llm import fit as llm

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.record import Training


def fit(
    spec: Params,
    train: pl.DataFrame,
    dev: pl.DataFrame,
    base: Path,
    out: Path,
    scratch: Path,
    last: Path | None = None,
) -> Training:
    """Train on the answers of `train` (whole queries), keep the best checkpoint on `dev`, write it to `out`."""
    options = spec.training
    train = queries.choose(train, options.max_rows, spec.seed)
    dev = queries.choose(dev, options.dev_rows, spec.seed)
    return llm.fit(spec, answered(train), answered(dev), base, out, scratch, last, measure)


def answered(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their answer: `label` 1 where the document is relevant, else 0."""
    return rows.with_columns(label=(pl.col("relevance") >= labels.RELEVANT).cast(pl.Int8))


def measure(dev: pl.DataFrame, log_probs: np.ndarray) -> dict[str, float]:
    """Dev metrics from the log-probabilities of no and yes [rows, 2]; `loss` is the answers' mean, in nats."""
    loss = -log_probs[np.arange(len(dev)), dev["label"].to_numpy()].mean()
    return ranking_dev_metrics.of(dev, log_probs[:, 1] - log_probs[:, 0], float(loss))
