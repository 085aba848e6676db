"""Queries and documents as vectors, and their cosines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.encoders.bi_encoder import DistinctTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.encoders.bi_encoder import BiEncoder
    from retune.training.hardware import Chosen


class QueryTexts:
    """The distinct queries and documents of a table, encoded, and where each row finds its two."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prefixes: dict[str, str], rows: pl.DataFrame, max_length: int
    ) -> None:
        self.queries, self.documents = (
            DistinctTexts(tokenizer, [rows[column]], prefixes[column], max_length) for column in ("query", "document")
        )
        (self.query,), (self.document,) = self.queries.places, self.documents.places  # of each row, [rows]

    def truncated(self) -> np.ndarray:
        """Whether a text of the row was cut, [rows] of bool."""
        return np.logical_or(self.queries.truncated(), self.documents.truncated())

    def vectors(self, model: BiEncoder, chosen: Chosen, desc: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors of the distinct queries and documents, float64 [texts, width]."""
        queries, documents = (
            texts.vectors(model, chosen, desc).astype(np.float64) for texts in (self.queries, self.documents)
        )
        return queries, documents

    def cosines(self, model: BiEncoder, chosen: Chosen, desc: str | None = None) -> np.ndarray:
        """Cosine of every row's query and document, float64 [rows]; `desc` names a progress bar."""
        queries, documents = self.vectors(model, chosen, desc)
        found: np.ndarray = (queries[self.query] * documents[self.document]).sum(-1)
        return found
