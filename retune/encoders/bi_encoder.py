"""Many texts to vectors, fast: sorted by length, in batches of a number of tokens instead of a number of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from retune import progress
from retune.encoders import tokens, transformer
from retune.encoders.tokens import Encoded
from retune.params import Params
from retune.training import hardware, out_of_memory

if TYPE_CHECKING:
    from retune.training.hardware import Chosen

R = TypeVar("R")

BATCH_TOKENS = 2048
"""Tokens, padding included, of one forward pass without gradient: enough to fill a processor, few enough for caches."""


class BiEncoder(nn.Module):
    """An encoder and its pooling."""

    def __init__(self, encoder: nn.Module, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.limit = out_of_memory.Limit(BATCH_TOKENS, "tokens", "prediction")

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Vectors [texts, width] in float32, of any length, of padded token ids [texts, tokens]."""
        states = self.encoder(**inputs).last_hidden_state.float()
        return transformer.pool(states, inputs["attention_mask"], self.pooling)


def vectors(
    model: BiEncoder, texts: Sequence[Encoded], pad_id: int, chosen: Chosen, desc: str | None = None
) -> torch.Tensor:
    """Unit vectors of the texts, float32 [texts, width], on the CPU, in their order; `desc` names a progress bar."""
    found: dict[int, torch.Tensor] = {}

    def run(numbers: Sequence[int]) -> torch.Tensor:
        batch = tokens.pad([texts[number] for number in numbers], pad_id)
        embedded = model(**{name: value.to(chosen.device) for name, value in batch.items()})
        return F.normalize(embedded, dim=-1).cpu()

    mode = model.training
    model.eval()
    bar = progress.bar(total=len(texts), desc=desc or "", unit="text", disable=desc is None)
    with torch.inference_mode(), hardware.autocast(chosen), bar:
        for numbers, embedded in in_batches(texts, model.limit, run):
            found.update(zip(numbers, embedded, strict=True))
            bar.update(len(numbers))
    model.train(mode)
    return torch.stack([found[number] for number in range(len(texts))])


def in_batches(
    rows: Sequence[Encoded], limit: out_of_memory.Limit, work: Callable[[Sequence[int]], R]
) -> Iterator[tuple[Sequence[int], R]]:
    """Row numbers in batches, longest first, with what `work(numbers)` gives.

    Rows times longest row stay within the limit, which learns from a lack of memory; a longer row is alone.
    """
    order = tokens.longest_first(rows)

    def within(start: int, size: int) -> int:
        return min(len(order) - start, max(1, size // len(rows[order[start]].ids)))

    return out_of_memory.in_batches(order, limit, work, within)


def with_batch(spec: Params, size: int) -> Params:
    """The spec of a training whose items are queries: `size` of them in a batch, instead of rows."""
    return Params({**spec, "training": Params({**spec.training, "batch_size": size})})
