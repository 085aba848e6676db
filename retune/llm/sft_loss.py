"""Supervised fine-tuning of a causal LM on answers: the mean cross-entropy over their tokens, prompts unpunished.

An item is (prompt token ids, target token ids, their weights in the mean); the target's last token is the end of the
turn (retune.llm.prompt.targets). `cut`, `loss` and `tokens` are what `retune.training.job.run` asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Any

import torch

from retune.llm.packing.packing import Packing, Part
from retune.training import out_of_memory

Item = tuple[list[int], list[int], list[float]]


class AnswerLoss:
    """The loss of batches of items."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing

    def cut(self, items: list[Item], batch: list[Item], budget: int) -> list[dict[str, Any]]:
        """Passes of `items`, of at most `budget` distinct tokens; each knows the weight of all targets of its batch."""
        total = sum(sum(weights) for *_, weights in batch)
        return [{"part": part, "total": total} for part in self._parts(items, budget)]

    def _parts(self, items: Sequence[Item], budget: int) -> list[Part]:
        rows = [[*prompt, *answer[:-1]] for prompt, answer, _ in items]
        triplets = [
            [(len(prompt) - 1 + i, t, w) for i, (t, w) in enumerate(zip(answer, weights, strict=True))]
            for prompt, answer, weights in items
        ]
        return self.packing.parts(rows, triplets, budget)

    @torch.inference_mode()
    def mean(self, items: Sequence[Item]) -> float:
        """The loss of all items, without a gradient; the model's mode (eval) is the caller's."""
        limit = self.packing.limit
        order = sorted(range(len(items)), key=lambda row: (tuple(items[row][0]), row))

        def read(rows: Sequence[int]) -> float:
            parts = self._parts([items[row] for row in rows], limit.size)
            return -sum(float(self.packing.log_probs(part).double() @ part.weights.double()) for part in parts)

        def within(start: int, size: int) -> int:
            tokens = accumulate(len(items[row][0]) + len(items[row][1]) for row in order[start:])
            return max(1, sum(1 for _ in takewhile(lambda count: count <= size, tokens)))

        total = sum(found for _, found in out_of_memory.in_batches(order, limit, read, within))
        return total / sum(sum(weights) for *_, weights in items)

    def loss(self, _model: Any, one: dict[str, Any]) -> torch.Tensor:
        """What one pass adds to the weighted mean over the batch's targets: a scalar."""
        return self.packing.loss(one["part"]) / one["total"]

    def tokens(self, one: dict[str, Any]) -> int:
        """Tokens that one pass computes, shared ones once."""
        return int(one["part"].ids.numel())
