"""The encoder with its linear layer, and how rows pass through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import nn

from retune.data import kinds
from retune.encoders import forward, tokens, transformer
from retune.encoders.fast_dropout import Dropout
from retune.encoders.tokens import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from retune.params import Params
    from retune.training.hardware import Chosen


class Classifier(nn.Module):
    """An encoder, its pooling (`pooler`, `mean`) and a linear layer to the labels."""

    def __init__(self, encoder: PreTrainedModel, pooling: str, classes: int) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        config = encoder.config
        own: Any = getattr(config, "classifier_dropout", None)  # 0.0 is one, too
        self.dropout = Dropout(getattr(config, "hidden_dropout_prob", 0.1) if own is None else own)
        self.classifier = nn.Linear(config.hidden_size, classes)
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)
        self.limit = forward.limit()

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Class logits [rows, classes] in float32 of padded token ids [rows, tokens]."""
        logits: torch.Tensor = self.classifier(self.dropout(self.pooled(**inputs)))
        return logits.float()

    def pooled(self, **inputs: torch.Tensor) -> torch.Tensor:
        """The vector of each row [rows, width], which the linear layer reads."""
        output = self.encoder(**inputs)
        if self.pooling == "pooler":
            pooled: torch.Tensor = output.pooler_output
            return pooled
        return transformer.pool(output.last_hidden_state.float(), inputs["attention_mask"], self.pooling)


def encode(tokenizer: PreTrainedTokenizerBase, frame: pl.DataFrame, spec: Params, max_length: int) -> list[Encoded]:
    """The text of every row, or both texts as one input, of at most `max_length` tokens."""
    texts = [frame[column].to_list() for column in kinds.of(spec.kind).TEXTS]
    return tokens.encode(
        tokenizer, texts[0], texts[1] if len(texts) > 1 else None, max_length, spec.training.truncation
    )


def log_probs(
    model: Classifier, rows: list[Encoded], pad_id: int, chosen: Chosen, desc: str | None = None
) -> np.ndarray:
    """Log-probabilities of the labels, [rows, labels] of float64; `desc` names a progress bar."""
    shape = (model.classifier.out_features,)
    logits = forward.outputs(model, rows, model.forward, shape, pad_id, chosen, desc).astype(np.float64)
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
