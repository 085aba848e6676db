"""Predict labels by the cosine of two embeddings, scale and bias."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from safetensors.torch import load_file

from retune.data.kinds.pair import LABELS
from retune.data.labels import predictions
from retune.encoders import tokens, transformer
from retune.learners.pair_embedder.model import PairEmbedder, PairTexts
from retune.training import hardware, positions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.params import Params
    from retune.training.hardware import Chosen


class CosineClassifier:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(
        self, model: PairEmbedder, tokenizer: PreTrainedTokenizerBase, prefix: str, max_length: int, chosen: Chosen
    ) -> None:
        self.model, self.tokenizer, self.prefix, self.max_length = model, tokenizer, prefix, max_length
        self.chosen = chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0, prob_1, truncated for the pairs of `frame`; a text is embedded once."""
        texts = PairTexts(self.tokenizer, self.prefix, frame, self.max_length)
        cosines = texts.cosines(self.model, self.chosen, "predict")
        log_odds = self.model.log_odds(cosines)
        log_probs = np.stack([-np.logaddexp(0.0, log_odds), -np.logaddexp(0.0, -log_odds)], axis=1)
        return predictions(frame["id"], log_probs, LABELS, texts.truncated())


def load(model_dir: Path, base: Path, hardware_options: Params, options: Params | None = None) -> CosineClassifier:
    """Read what `fit` wrote; the base is not needed."""
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    kept = json.loads((model_dir / "embedder.json").read_text(encoding="utf-8"))
    model = PairEmbedder(transformer.load(model_dir, chosen), kept["pooling"])
    model.load_state_dict(load_file(model_dir / "head.safetensors"), strict=False)
    model.to(chosen.device).eval()
    tokenizer, max_length = tokens.tokenizer_of(model_dir), positions.within(model_dir, kept["max_length"])
    return CosineClassifier(model, tokenizer, kept["query_prefix"], max_length, chosen)
