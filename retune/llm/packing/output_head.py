"""The output head of a causal LM where it is needed only, in pieces of bounded memory.

A small model with a large vocabulary spends most of its time and memory on logits that nobody reads. Here hidden states
reach the head at the positions that carry a target, `LOGITS_BYTES` of logits at a time, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

LOGITS_BYTES = 512 * 2**20
"""Most memory that logits may take at once, counted in float32. They are kept in the model's dtype; in float32 there is
what `CACHED_ROWS` says on a processor, and all of them on a GPU."""
PACKED_ROWS = 32_768
"""Rows of the head in one product on a processor, whose library copies what it multiplies by."""
CACHED_ROWS = 8
"""Rows of such a product whose softmax a processor takes at a time, within its cache."""


@dataclass(frozen=True)
class Head:
    """What makes logits of hidden states h: scale * (h W' + b), and cap * tanh(that / cap) where there is a cap.

    Granite, Cohere and MiniCPM scale their logits, Gemma caps them; retune.llm.packing.head_form finds both.
    """

    weight: torch.Tensor  # (vocabulary, width)
    bias: torch.Tensor | None  # (vocabulary,)
    scale: float = 1.0
    cap: float | None = None

    def logits(self, products: torch.Tensor) -> torch.Tensor:
        """Logits for products with the weight, of any shape."""
        if self.scale != 1:
            products = products * self.scale
        return products if self.cap is None else torch.tanh(products / self.cap) * self.cap

    def backward(self, gradient: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Give the gradient of the products for that of the `logits`."""
        if self.cap is not None:
            gradient = gradient * (1 - (logits / self.cap) ** 2)
        return gradient if self.scale == 1 else gradient * self.scale


def log_probs(
    hidden: torch.Tensor,
    head: Head,
    positions: torch.Tensor,
    targets: torch.Tensor,
    limit: int = LOGITS_BYTES,
) -> torch.Tensor:
    """Log-probability of each target: float32 (or wider) (targets,).

    `hidden` (rows, width); target t is read behind row `positions[t]` (ascending); the softmax is over all of the
    vocabulary, of which a processor reads a slice at a time for all the rows that fit.
    """
    pieces = [
        _log_probs_of_piece(hidden[rows], head, at, target)
        for rows, at, target in _pieces(len(hidden), _rows_within(limit, _slice_size(head.weight)), positions, targets)
    ]
    return torch.cat(pieces) if pieces else hidden.new_zeros(0, dtype=accumulation_dtype(hidden))


def _log_probs_of_piece(hidden: torch.Tensor, head: Head, at: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability of target t behind row `at[t]`; the softmax's denominator is summed slice by slice."""
    target_logits = torch.zeros(len(targets), dtype=accumulation_dtype(hidden), device=hidden.device)
    totals, start = [], 0
    for products in _slices(hidden, head):
        inside = (targets >= start) & (targets < start + products.shape[1])  # (targets,)
        found = products[at[inside], targets[inside] - start].to(target_logits.dtype)
        target_logits[inside] = head.logits(found)
        blocks = [head.logits(block.to(found.dtype)).logsumexp(-1) for block in products.split(_softmax_rows(products))]
        totals.append(torch.cat(blocks))  # (rows,)
        start += products.shape[1]
    return target_logits - torch.stack(totals).logsumexp(0)[at]


def logits(hidden: torch.Tensor, head: Head, positions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Logit of target t behind row `positions[t]`: float32 (or wider) (targets,), from the head's rows of `targets`."""
    tokens, column = targets.unique(return_inverse=True)
    wide = accumulation_dtype(hidden)
    bias = None if head.bias is None else head.bias[tokens].to(wide)
    with torch.autocast(hidden.device.type, enabled=False):
        found = F.linear(hidden.to(wide), head.weight[tokens].to(wide), bias)  # (rows, distinct targets)
    return head.logits(found)[positions, column]


def loss(
    hidden: torch.Tensor,
    head: Head,
    positions: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    limit: int = LOGITS_BYTES,
) -> torch.Tensor:
    """Sum of `weights[t]` times the cross-entropy of target t: a scalar; arguments as in `log_probs`.

    The gradient is computed along with it, piece by piece, so no logits are kept for a backward pass (as in the fused
    linear cross-entropy of Liger kernel, Hsu et al. 2024).
    """
    total: torch.Tensor = _Loss.apply(
        hidden, head.weight, head.bias, positions, targets, weights, limit, head.scale, head.cap
    )
    return total


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        positions: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        limit: int,
        scale: float,
        cap: float | None,
    ) -> torch.Tensor:
        head = Head(weight, bias, scale, cap)
        trains = [tensor is not None and tensor.requires_grad for tensor in (hidden, weight, bias)]
        gradients = [
            torch.zeros_like(t) if t is not None and on else None
            for t, on in zip((hidden, weight, bias), trains, strict=True)
        ]
        total = torch.zeros((), dtype=accumulation_dtype(hidden), device=hidden.device)
        size = _rows_within(limit, len(weight))
        for rows, at, target, w in _pieces(len(hidden), size, positions, targets, weights):
            slices = list(_slices(hidden[rows], head))
            blocks = _pieces(len(slices[0]), _softmax_rows(slices[0]), at, target, w.to(total.dtype))
            for block, block_at, block_targets, block_weights in blocks:
                # (rows of the block, vocabulary)
                found = head.logits(torch.cat([products[block].to(total.dtype) for products in slices], dim=-1))
                logs = found.log_softmax(-1)
                found = found if head.cap else logs  # only a cap's gradient reads the logits: they are freed
                total -= (logs[block_at, block_targets] * block_weights).sum()
                if not any(trains):
                    continue
                # d loss / d logits = (sum of the row's weights) * softmax - weight at each target
                d_logits = logs.exp_().mul_(logs.new_zeros(len(logs)).index_add_(0, block_at, block_weights)[:, None])
                d_logits.index_put_((block_at, block_targets), -block_weights, accumulate=True)
                d_products = head.backward(d_logits, found)
                if gradients[2] is not None:
                    gradients[2] += d_products.sum(0).to(gradients[2].dtype)
                for products, d_slice in zip(slices, d_products.split(_slice_size(weight), dim=1), strict=True):
                    products[block] = d_slice  # the gradient takes the products' place
            if gradients[0] is not None:
                gradients[0][rows] = _matmul(slices, weight).to(hidden.dtype)
            if gradients[1] is not None:
                gradients[1] += torch.cat([d_slice.t() @ hidden[rows] for d_slice in slices]).to(weight.dtype)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        scaled = [g if g is None else g * upstream.to(g.dtype) for g in ctx.saved_tensors]
        return (*scaled, *[None] * 6)


def all_logits(hidden: torch.Tensor, head: Head) -> torch.Tensor:
    """Logits of the whole vocabulary: float32 (or wider) (rows, vocabulary)."""
    return head.logits(torch.cat([part.to(accumulation_dtype(hidden)) for part in _slices(hidden, head)], dim=-1))


def _slices(hidden: torch.Tensor, head: Head) -> Iterator[torch.Tensor]:
    """Products with the weight (rows, slice of the vocabulary), one slice after the other."""
    size = _slice_size(head.weight)
    for start in range(0, len(head.weight), size):
        offset = None if head.bias is None else head.bias[start : start + size]
        yield F.linear(hidden, head.weight[start : start + size], offset)


def _matmul(slices: list[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """`slices` of the vocabulary, together (rows, vocabulary), by `weight` (vocabulary, width)."""
    return torch.stack([s @ w for s, w in zip(slices, weight.split(_slice_size(weight)), strict=True)]).sum(0)


def _slice_size(weight: torch.Tensor) -> int:
    """Rows of the head in one product."""
    return min(PACKED_ROWS, len(weight)) if weight.device.type == "cpu" else len(weight)


def _softmax_rows(logits: torch.Tensor) -> int:
    """Rows of logits whose softmax is taken in one go."""
    return CACHED_ROWS if logits.device.type == "cpu" else max(1, len(logits))


def accumulation_dtype(tensor: torch.Tensor) -> torch.dtype:
    """The dtype in which sums and scores of a tensor are kept: float32, or float64 of one that is."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _rows_within(limit: int, logits: int) -> int:
    """Rows of so many logits whose float32 would take at most `limit` bytes; one at least."""
    return max(1, limit // (4 * logits))


def _pieces(rows: int, size: int, positions: torch.Tensor, targets: torch.Tensor, *more: torch.Tensor) -> Iterator[Any]:
    """Slices of `size` rows, and for each the positions from its start, targets, and `more`, that belong to it."""
    for start in range(0, rows, size):
        stop = min(rows, start + size)
        low, high = torch.searchsorted(positions, torch.tensor([start, stop], device=positions.device)).tolist()
        yield slice(start, stop), positions[low:high] - start, targets[low:high], *(each[low:high] for each in more)
