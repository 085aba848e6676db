"""Supervised fine-tuning of a causal LM: the mean cross-entropy over the tokens of the targets, not of the prompts.

An item is (prompt token ids, target token ids, their weights in the mean); the target's last token is the end of the
turn (retune.llm.prompt.targets). `split`, `loss` and `tokens` are what `retune.training.job` asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Any

import torch

from retune.llm.packing.batches import PackedBatch
from retune.llm.packing.packing import PackedModel
from retune.training import out_of_memory

Item = tuple[list[int], list[int], list[float]]


class SFTLoss:
    """The loss of batches of items."""

    def __init__(self, packed: PackedModel) -> None:
        self.packed = packed

    def split(self, items: list[Item], batch: list[Item], budget: int) -> list[dict[str, Any]]:
        """Micro-batches of `items`, of at most `budget` distinct tokens; `total` is the weight of the whole batch."""
        total = sum(sum(weights) for *_, weights in batch)
        return [{"packed": packed, "total": total} for packed in self._packed_batches(items, budget)]

    def _packed_batches(self, items: Sequence[Item], budget: int) -> list[PackedBatch]:
        sequences = [[*prompt, *target[:-1]] for prompt, target, _ in items]
        targets = [
            [(len(prompt) - 1 + i, t, w) for i, (t, w) in enumerate(zip(target, weights, strict=True))]
            for prompt, target, weights in items
        ]
        return self.packed.batches(sequences, targets, budget)

    @torch.inference_mode()
    def mean(self, items: Sequence[Item]) -> float:
        """The loss of all items, without a gradient; the model's mode (eval) is the caller's."""
        limit = self.packed.limit
        order = sorted(range(len(items)), key=lambda row: (tuple(items[row][0]), row))

        def summed_loss(rows: Sequence[int]) -> float:
            batches = self._packed_batches([items[row] for row in rows], limit.size)
            return -sum(float(self.packed.log_probs(one).double() @ one.target_weights.double()) for one in batches)

        def rows_within(start: int, size: int) -> int:
            tokens = accumulate(len(items[row][0]) + len(items[row][1]) for row in order[start:])
            return max(1, sum(1 for _ in takewhile(lambda count: count <= size, tokens)))

        total = sum(loss for _, loss in out_of_memory.in_batches(order, limit, summed_loss, rows_within))
        return total / sum(sum(weights) for *_, weights in items)

    def loss(self, _model: Any, micro_batch: dict[str, Any]) -> torch.Tensor:
        """What a micro-batch adds to the weighted mean over its batch's targets: a scalar."""
        return self.packed.loss(micro_batch["packed"]) / micro_batch["total"]

    def tokens(self, micro_batch: dict[str, Any]) -> int:
        """Tokens that a micro-batch computes, shared ones once."""
        return int(micro_batch["packed"].input_ids.numel())
