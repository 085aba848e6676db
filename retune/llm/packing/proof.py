"""What a way of running sequences is held against: the model's own forward pass over each sequence alone."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from retune.llm.packing import rope
from retune.llm.packing.output_head import accumulation_dtype

SEQUENCES, TOKENS, VOCABULARY = 3, 64, 4096
"""Sequences that are run both ways, the most tokens of their common prefix and of what follows it that are run, and of
the vocabulary the first tokens that are compared: it shall cost a second, not ten."""
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
TOLERANCE_16_BITS = 0.1
"""Mean difference of log-probabilities between both ways, in their standard deviations, that passes as rounding."""


def shortened(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """The shortest sequences, with the first tokens of what they share, and of what each goes on with.

    The rests differ in length where they are cut, so that padding is tried, too.
    """
    chosen = sorted(sequences, key=len)[:SEQUENCES]
    same = [len(set(tokens)) == 1 for tokens in zip(*chosen, strict=False)]
    common = [*same, False].index(False)
    prefix = min(common, TOKENS)
    return [[*ids[:prefix], *ids[common : common + TOKENS - 3 * place]] for place, ids in enumerate(chosen)]


@contextlib.contextmanager
def narrow_windows(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> Iterator[None]:
    """Let every sliding window of the model be half as long as the longest sequence, while the block runs.

    So a few tokens tell whether a way of running sequences keeps to the windows, whatever their length is.
    """
    window = max(2, max(map(len, sequences), default=0) // 2)
    places: dict[int, Any] = {}
    for module in model.modules():
        places |= {id(place): place for place in (module, getattr(module, "config", None)) if place is not None}
    kept = [(place, place.sliding_window) for place in places.values() if _has_window(place)]
    for place, own in kept:
        place.sliding_window = min(own, window)
    try:
        yield
    finally:
        for place, own in kept:
            place.sliding_window = own


def _has_window(place: Any) -> bool:
    window = getattr(place, "sliding_window", None)
    return isinstance(window, int) and not isinstance(window, bool) and window > 0


@torch.no_grad()
def own_logits(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """Logits behind the last token, by the model's own forward pass: float32 or wider (vocabulary,)."""
    rope.forget(model)
    more = {"logits_to_keep": 1} if takes_logits_to_keep(model) else {}
    logits = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False, **more).logits[0, -1]
    return logits.to(accumulation_dtype(logits))


def takes_logits_to_keep(model: PreTrainedModel) -> bool:
    """Whether the model's forward pass can leave out logits that nobody reads."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Mean difference of the log-probabilities of logits (rows, vocabulary), in standard deviations of `wanted`."""
    logs, wanted_logs = (logits[:, :VOCABULARY].log_softmax(-1) for logits in (found, wanted))
    return float((logs - wanted_logs).abs().mean() / wanted_logs.std())


def limit(model: PreTrainedModel) -> float:
    """The largest `difference` that is rounding."""
    return TOLERANCE.get(model.dtype, TOLERANCE_16_BITS)
