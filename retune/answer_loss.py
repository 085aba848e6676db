"""Supervised fine-tuning of a causal LM on answers: the mean cross-entropy over their tokens, prompts unpunished.

An item is (prompt token ids, answer token ids); the answer's last token is the end of the turn. `cut`, `loss` and
`tokens` are what `retune.training.run` asks for.
"""

from __future__ import annotations

from typing import Any

import torch

from retune.packing import Packing

Item = tuple[list[int], list[int]]


class AnswerLoss:
    """The loss of batches of items."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing

    def cut(self, items: list[Item], batch: list[Item], budget: int) -> list[dict[str, Any]]:
        """Passes of `items`, of at most `budget` distinct tokens; each knows the number of targets of its batch."""
        rows = [[*prompt, *answer[:-1]] for prompt, answer in items]
        triplets = [[(len(prompt) - 1 + i, t, 1.0) for i, t in enumerate(answer)] for prompt, answer in items]
        targets = sum(len(answer) for _, answer in batch)
        return [{"part": part, "targets": targets} for part in self.packing.parts(rows, triplets, budget)]

    def loss(self, _model: Any, one: dict[str, Any]) -> torch.Tensor:
        """What one pass adds to the mean over the batch's targets: a scalar."""
        return self.packing.loss(one["part"]) / one["targets"]

    def tokens(self, one: dict[str, Any]) -> int:
        """Tokens that one pass computes, shared ones once."""
        return int(one["part"].ids.numel())
