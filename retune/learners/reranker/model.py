"""The encoder with its linear layer, and how pairs of query and document pass through it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file
from torch import nn

from retune.encoders import forward, tokens, transformer
from retune.encoders.tokens import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.training.hardware import Chosen


class Reranker(nn.Module):
    """An encoder, its pooling and a linear layer to the score."""

    def __init__(self, encoder: Any, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.head = nn.Linear(encoder.config.hidden_size, 1)
        nn.init.normal_(self.head.weight, std=encoder.config.initializer_range)
        nn.init.zeros_(self.head.bias)
        self.limit = forward.limit()

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Scores [pairs] in float32 of padded token ids [pairs, tokens]."""
        states = self.encoder(**inputs).last_hidden_state.float()
        scores: torch.Tensor = self.head(transformer.pool(states, inputs["attention_mask"], self.pooling)).squeeze(-1)
        return scores.float()


def load_head(model: Reranker, folder: Path) -> None:
    """Give the linear layer the weights of a model's folder."""
    weights = load_file(folder / "2_Dense/model.safetensors")
    model.head.load_state_dict({name.removeprefix("linear."): weight for name, weight in weights.items()})


def encode(tokenizer: PreTrainedTokenizerBase, frame: pl.DataFrame, max_length: int) -> list[Encoded]:
    """Query and document of every row as one input."""
    return tokens.encode(tokenizer, frame["query"].to_list(), frame["document"].to_list(), max_length)


def scores(model: Reranker, rows: list[Encoded], pad_id: int, chosen: Chosen, desc: str | None = None) -> np.ndarray:
    """The score of every pair, float64 [rows]; `desc` names a progress bar."""
    return forward.outputs(model, rows, model.forward, (), pad_id, chosen, desc).astype(np.float64)
