"""Supervised fine-tuning of a causal LM on answers: the mean cross-entropy over their tokens, prompts unpunished.

An item is (prompt token ids, answer token ids); the answer's last token is the end of the turn. The methods are what
`retune.training.run` asks for.
"""

from __future__ import annotations

from typing import Any

import torch

from retune.packing import Packing

Item = tuple[list[int], list[int]]


class AnswerLoss:
    """The loss of batches of items, in passes of at most `budget` distinct tokens."""

    def __init__(self, packing: Packing, budget: int) -> None:
        self.packing, self.budget = packing, budget

    def collate(self, items: list[Item]) -> dict[str, Any]:
        """A batch on the CPU: its parts, and the number of targets in all of them."""
        rows = [[*prompt, *answer[:-1]] for prompt, answer in items]
        triplets = [[(len(prompt) - 1 + i, t, 1.0) for i, t in enumerate(answer)] for prompt, answer in items]
        targets = sum(len(answer) for _, answer in items)
        return {"parts": self.packing.parts(rows, triplets, self.budget), "targets": targets}

    def parts(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """The passes of a batch; their losses add up to the batch's mean."""
        return [{"part": part, "targets": batch["targets"]} for part in batch["parts"]]

    def loss(self, _model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """What one pass adds to the mean over the batch's targets: a scalar."""
        return self.packing.loss(batch["part"]) / batch["targets"]

    def tokens(self, batch: dict[str, Any]) -> int:
        """Tokens that one pass computes, shared ones once."""
        return int(batch["part"].ids.numel())
