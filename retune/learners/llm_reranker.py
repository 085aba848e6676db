"""Learner `llm` of kind `ranking`: a causal LM is asked whether the document answers the query, yes or no.

The score is the log-odds of yes, read by label scoring; training and packing are those of retune.learners.llm. A
training row's answer is yes from relevance 0.5 on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.data import labels, queries
from retune.evaluation import ranking_dev_metrics
from retune.learners import llm

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.record import Training


class Predictor:
    """A model behind its prompt; `predict` gives a row per input row, in its order."""

    def __init__(self, labelled: llm.Predictor) -> None:
        self.labelled = labelled

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score (log-odds of yes), truncated for the rows of `frame`."""
        found = self.labelled.predict(frame)
        return queries.predictions(frame["id"], log_odds(found), found["truncated"].to_numpy())


def log_odds(found: pl.DataFrame) -> np.ndarray:
    """Log-odds of label 1 from its probability and that of label 0, at least 1e-15 each."""
    no, yes = (np.log(np.maximum(found[name].to_numpy(), 1e-15)) for name in ("prob_0", "prob_1"))
    difference: np.ndarray = yes - no
    return difference


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Train on the answers of `train` (whole queries), keep the best checkpoint on `dev`, write it to `out`."""
    options = spec.training
    train = queries.choose(train, options.max_rows, spec.seed)
    dev = queries.choose(dev, options.dev_rows, spec.seed)
    return llm.fit(spec, answered(train), answered(dev), base, out, scratch, measure=measure)


def answered(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their answer: `label` 1 where the document is relevant, else 0."""
    return rows.with_columns(label=(pl.col("relevance") >= labels.RELEVANT).cast(pl.Int8))


def measure(dev: pl.DataFrame, log_probs: np.ndarray) -> dict[str, float]:
    """Dev metrics from the log-probabilities of no and yes [rows, 2]; `loss` is the answers' mean, in nats."""
    loss = -log_probs[np.arange(len(dev)), dev["label"].to_numpy()].mean()
    return ranking_dev_metrics.of(dev, log_probs[:, 1] - log_probs[:, 0], float(loss))


def load(model_dir: Path, base: Path, hardware_options: Params) -> Predictor:
    """Read what `fit` wrote; the adapter goes on the base."""
    return Predictor(llm.load(model_dir, base, hardware_options))
