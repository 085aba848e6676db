"""Predict labels by the encoder and its linear layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from safetensors.torch import load_file

from retune import params
from retune.data import labels
from retune.encoders import tokens, transformer
from retune.learners.classifier.model import Classifier, encode, log_probs
from retune.params import Params
from retune.training import hardware, positions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.training.hardware import Chosen


class EncoderClassifier:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(
        self, model: Classifier, tokenizer: PreTrainedTokenizerBase, spec: Params, max_length: int, chosen: Chosen
    ) -> None:
        self.model, self.tokenizer, self.spec, self.max_length = model, tokenizer, spec, max_length
        self.chosen = chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0 .. prob_K-1, truncated for the rows of `frame`."""
        rows = encode(self.tokenizer, frame, self.spec, self.max_length)
        found = log_probs(self.model, rows, int(self.tokenizer.pad_token_id), self.chosen, "predict")
        cut = np.array([row.truncated for row in rows], dtype=bool)
        return labels.predictions(frame["id"], found, self.spec.labels, cut)


def load(model_dir: Path, base: Path, hardware_options: Params, options: Params | None = None) -> EncoderClassifier:
    """Read what `fit` wrote and the stage's spec.json; the base is not needed."""
    spec = params.load(model_dir / "spec.json")
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    pooling = json.loads((model_dir / "encoder.json").read_text(encoding="utf-8"))["pooling"]
    model = Classifier(transformer.load(model_dir, chosen, pooler=pooling == "pooler"), pooling, len(spec.labels))
    model.classifier.load_state_dict(load_file(model_dir / "head.safetensors"))
    model.to(chosen.device).eval()
    max_length = positions.within(model_dir, spec.training.max_length)
    return EncoderClassifier(model, tokens.tokenizer_of(model_dir), spec, max_length, chosen)
