"""Score documents by their BM25, with the word statistics of the training documents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from retune import params
from retune.data import queries
from retune.learners.bm25.search import scores
from retune.params import Params


class Bm25:
    """A collection and how it is searched; `predict` gives a row per input row, in its order."""

    def __init__(self, documents: list[str], options: Params) -> None:
        self.documents, self.options = documents, options

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score, truncated for the rows of `frame`."""
        found = scores(self.documents, frame, self.options)
        return queries.predictions(frame["id"], found, np.zeros(len(frame), dtype=bool))


def load(model_dir: Path, base: Path, hardware: Params, options: Params | None = None) -> Bm25:
    """Read what `fit` wrote and the stage's spec.json."""
    documents = json.loads((model_dir / "documents.json").read_text(encoding="utf-8"))
    return Bm25(documents, params.load(model_dir / "spec.json").bm25)
