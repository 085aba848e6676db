"""Score documents by the log-odds of yes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.data import queries
from retune.learners.llm import predict as llm

if TYPE_CHECKING:
    from retune.llm.predictor import PromptedLlm
    from retune.params import Params


class LlmReranker:
    """A model behind its prompt; `predict` gives a row per input row, in its order."""

    def __init__(self, labelled: PromptedLlm) -> None:
        self.labelled, self.chosen = labelled, labelled.chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score (log-odds of yes), truncated for the rows of `frame`."""
        found = self.labelled.predict(frame)
        return queries.predictions(frame["id"], log_odds(found), found["truncated"].to_numpy())


def log_odds(found: pl.DataFrame) -> np.ndarray:
    """Log-odds of label 1 from its probability and that of label 0, at least 1e-15 each."""
    no, yes = (np.log(np.maximum(found[name].to_numpy(), 1e-15)) for name in ("prob_0", "prob_1"))
    difference: np.ndarray = yes - no
    return difference


def load(model_dir: Path, base: Path, hardware_options: Params, options: Params | None = None) -> LlmReranker:
    """Read what `fit` wrote; the adapter goes on the base."""
    return LlmReranker(llm.load(model_dir, base, hardware_options, options))
