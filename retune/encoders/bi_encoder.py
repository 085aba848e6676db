"""Texts to vectors, each distinct text once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import nn

from retune.encoders import forward, tokens, transformer
from retune.encoders.tokens import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.training.hardware import Chosen


class BiEncoder(nn.Module):
    """An encoder and its pooling."""

    def __init__(self, encoder: nn.Module, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.limit = forward.limit()

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Vectors [texts, width] in float32, of any length, of padded token ids [texts, tokens]."""
        states = self.encoder(**inputs).last_hidden_state.float()
        return transformer.pool(states, inputs["attention_mask"], self.pooling)

    def embed(self, **inputs: torch.Tensor) -> torch.Tensor:
        """The same vectors, of length 1."""
        return F.normalize(self(**inputs), dim=-1)


def vectors(
    model: nn.Module, texts: Sequence[Encoded], pad_id: int, chosen: Chosen, desc: str | None = None
) -> np.ndarray:
    """What `model.embed` gives for the texts, float32 [texts, width], in their order; `desc` names a progress bar."""
    width = model.encoder.config.hidden_size
    return forward.outputs(model, texts, model.embed, (width,), pad_id, chosen, desc)


class DistinctTexts:
    """The distinct texts of some columns, encoded behind a prefix, and where each row finds its own."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, columns: Sequence[pl.Series], prefix: str, max_length: int
    ) -> None:
        place: dict[str, int] = {}
        self.places = [
            np.array([place.setdefault(text, len(place)) for text in column], dtype=np.int64) for column in columns
        ]  # of each column, [rows]
        self.encoded = tokens.encode(tokenizer, [prefix + text for text in place], None, max_length)
        self.pad_id = int(tokenizer.pad_token_id)

    def truncated(self) -> np.ndarray:
        """Whether a text of the row was cut, [rows] of bool."""
        cut = np.array([text.truncated for text in self.encoded], dtype=bool)
        return np.logical_or.reduce([cut[places] for places in self.places])

    def vectors(self, model: nn.Module, chosen: Chosen, desc: str | None = None) -> np.ndarray:
        """What `model.embed` gives for each distinct text, float32 [texts, width]."""
        return vectors(model, self.encoded, self.pad_id, chosen, desc)
