"""How a model reads prompts: packed, with what they share computed once, and in the numbers of its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from retune.llm import adapter
from retune.llm.label_scoring import label_log_probs
from retune.llm.packing import packing
from retune.llm.packing.packing import PackedModel

if TYPE_CHECKING:
    from retune.llm.prompt.prompt import ChatPrompt
    from retune.training.hardware import Chosen


def packed_by(model: Any, chosen: Chosen, prompts: list[list[int]]) -> PackedModel:
    """How the model runs these prompts; proven on some of them."""
    with adapter.mixed_precision(model, chosen):
        return packing.prepare(model, chosen, prompts)


def score(
    packed: PackedModel, chat: ChatPrompt, prompts: list[list[int]], chosen: Chosen, progress: bool = False
) -> np.ndarray:
    """Log-probabilities of the labels, float64 (prompts, labels), in the order of `chat.labels`."""
    with adapter.mixed_precision(packed.model, chosen):
        return label_log_probs(packed, prompts, chat.answers, chat.after_answer, progress=progress)
