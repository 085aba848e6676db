"""Score pairs of query and document by the encoder and its linear layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.data import queries
from retune.encoders import tokens, transformer
from retune.learners.reranker.model import Reranker, encode, load_head, scores
from retune.training import hardware, positions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.params import Params
    from retune.training.hardware import Chosen


class EncoderReranker:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, model: Reranker, tokenizer: PreTrainedTokenizerBase, max_length: int, chosen: Chosen) -> None:
        self.model, self.tokenizer, self.max_length, self.chosen = model, tokenizer, max_length, chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score, truncated for the rows of `frame`."""
        rows = encode(self.tokenizer, frame, self.max_length)
        found = scores(self.model, rows, int(self.tokenizer.pad_token_id), self.chosen, "predict")
        return queries.predictions(frame["id"], found, np.array([row.truncated for row in rows], dtype=bool))


def load(model_dir: Path, base: Path, hardware_options: Params, options: Params | None = None) -> EncoderReranker:
    """Read what `fit` wrote; the base is not needed."""
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    kept = json.loads((model_dir / "reranker.json").read_text(encoding="utf-8"))
    model = Reranker(transformer.load(model_dir, chosen), kept["pooling"])
    load_head(model, model_dir)
    model.to(chosen.device).eval()
    max_length = positions.within(model_dir, kept["max_length"])
    return EncoderReranker(model, tokens.tokenizer_of(model_dir), max_length, chosen)
