"""The encoder with scale and bias, and the cosines of pairs of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import nn

from retune.encoders import forward, transformer
from retune.encoders.bi_encoder import DistinctTexts
from retune.encoders.tokens import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.training.hardware import Chosen


class PairEmbedder(nn.Module):
    """An encoder, its pooling, and the scale and bias that make a cosine a log-odds."""

    def __init__(self, encoder: nn.Module, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))
        self.limit = forward.limit()

    def embed(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Unit vectors [texts, width] in float32 of padded token ids [texts, tokens]."""
        states = self.encoder(**inputs).last_hidden_state.float()
        return F.normalize(transformer.pool(states, inputs["attention_mask"], self.pooling), dim=-1)

    def log_odds(self, cosines: np.ndarray) -> np.ndarray:
        """Log-odds of label 1 of cosines [rows], in float64."""
        return self.scale.item() * cosines + self.bias.item()

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Class logits [pairs, 2] (-z/2, z/2) of 2 * pairs texts: all first texts, then all second ones."""
        first, second = self.embed(**inputs).chunk(2)
        return classes(self.scale * (first * second).sum(-1) + self.bias)


def classes(log_odds: torch.Tensor) -> torch.Tensor:
    """Two logits whose softmax is the sigmoid of the log-odds."""
    return torch.stack([-log_odds / 2, log_odds / 2], dim=-1)


class PairTexts:
    """The distinct texts of a table of pairs, encoded, and where each row finds its two."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prefix: str, frame: pl.DataFrame, max_length: int) -> None:
        self.distinct = DistinctTexts(tokenizer, [frame["text_a"], frame["text_b"]], prefix, max_length)

    def pairs(self) -> list[tuple[Encoded, Encoded]]:
        """Both encoded texts of every row."""
        encoded = self.distinct.encoded
        return [(encoded[a], encoded[b]) for a, b in zip(*self.distinct.places, strict=True)]

    def truncated(self) -> np.ndarray:
        """Whether a text of the row was cut, [rows] of bool."""
        return self.distinct.truncated()

    def cosines(self, model: PairEmbedder, chosen: Chosen, desc: str | None = None) -> np.ndarray:
        """Cosine of the two texts of every row, [rows] of float64; `desc` names a progress bar."""
        vectors = torch.from_numpy(self.distinct.vectors(model, chosen, desc)).double()
        first, second = self.distinct.places
        cosines: np.ndarray = (vectors[first] * vectors[second]).sum(-1).numpy()
        return cosines
