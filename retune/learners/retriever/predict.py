"""Score documents by the cosine of their vector and the query's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune.data import queries
from retune.encoders import tokens, transformer
from retune.encoders.bi_encoder import BiEncoder
from retune.learners.retriever.texts import QueryTexts
from retune.training import hardware, positions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.params import Params
    from retune.training.hardware import Chosen


class Retriever:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(
        self, model: BiEncoder, tokenizer: PreTrainedTokenizerBase, prefixes: dict[str, str], max_length: int,
        chosen: Chosen,
    ) -> None:  # fmt: skip
        self.model, self.tokenizer, self.prefixes, self.max_length = model, tokenizer, prefixes, max_length
        self.chosen = chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score (a cosine), truncated for the rows of `frame`; a text is embedded once."""
        texts = QueryTexts(self.tokenizer, self.prefixes, frame, self.max_length)
        return queries.predictions(frame["id"], texts.cosines(self.model, self.chosen, "predict"), texts.truncated())


def load(model_dir: Path, base: Path, hardware_options: Params, options: Params | None = None) -> Retriever:
    """Read what `fit` wrote; the base is not needed."""
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    kept: dict[str, Any] = json.loads((model_dir / "embedder.json").read_text(encoding="utf-8"))
    model = BiEncoder(transformer.load(model_dir, chosen), kept["pooling"]).to(chosen.device).eval()
    max_length = positions.within(model_dir, kept["max_length"])
    return Retriever(model, tokens.tokenizer_of(model_dir), kept["prefixes"], max_length, chosen)
