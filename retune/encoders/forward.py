"""Many inputs through an encoder without a gradient: the longest first, in batches that shrink where memory lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from retune import progress
from retune.encoders import tokens
from retune.encoders.tokens import Encoded
from retune.training import hardware, out_of_memory

if TYPE_CHECKING:
    from retune.training.hardware import Chosen

BATCH_TOKENS = 8192
"""Tokens, padding included, of one forward pass without gradient."""

CPU_BATCH_TOKENS = 512
"""Of one on a processor, which so many fill; inputs of like lengths, so that few are padding: a quarter of 64 short
texts', where 2048 tokens are 1.7 times the texts'."""


def limit() -> out_of_memory.Limit:
    """The `limit` of a model that `outputs` is asked of."""
    return out_of_memory.Limit(BATCH_TOKENS, "tokens", "prediction")


def outputs(
    model: nn.Module,
    inputs: Sequence[Encoded],
    output: Callable[..., torch.Tensor],
    shape: tuple[int, ...],
    pad_id: int,
    chosen: Chosen,
    desc: str | None = None,
) -> np.ndarray:
    """What `output` gives for every input, float32 [inputs, *shape], in their order; `desc` names a progress bar.

    `output(**batch)`, a function of `model`, which is in eval mode meanwhile, gives [rows, *shape] of padded token ids
    [rows, tokens]. A batch holds so many tokens as `model.limit` allows, padding included, on a processor
    `CPU_BATCH_TOKENS` at most; a longer input is alone.
    """
    limit: out_of_memory.Limit = model.limit
    most = CPU_BATCH_TOKENS if chosen.device.type == "cpu" else BATCH_TOKENS
    order = tokens.longest_first(inputs)
    found = np.zeros((len(inputs), *shape), dtype=np.float32)

    def run(numbers: Sequence[int]) -> np.ndarray:
        batch = tokens.pad([inputs[number] for number in numbers], pad_id)
        part = output(**{name: value.to(chosen.device) for name, value in batch.items()})
        return np.asarray(part.float().cpu().numpy())

    def within_tokens(start: int, size: int) -> int:
        return min(len(order) - start, max(1, min(size, most) // len(inputs[order[start]].ids)))

    training_mode = model.training
    model.eval()
    bar = progress.bar(total=len(inputs), desc=desc or "", unit="input", disable=desc is None)
    with torch.inference_mode(), hardware.autocast(chosen), bar:
        for numbers, part in out_of_memory.in_batches(order, limit, run, within_tokens):
            found[numbers] = part
            bar.update(len(numbers))
    model.train(training_mode)
    return found
