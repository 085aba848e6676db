"""Attention of rows that `generation` writes together: to what all of them begin with, and to their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from retune.llm.packing.output_head import exact


@dataclass(frozen=True)
class Prefix:
    """What rows that are written together begin with: keys and values (key-value heads, tokens, d) of each layer."""

    layers: list[tuple[torch.Tensor, torch.Tensor]]


def behind(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    first_key: torch.Tensor,
    first_value: torch.Tensor,
) -> torch.Tensor:
    """Attention of rows that share a prefix, to its one copy and to the keys of their own: (rows, tokens, heads, d).

    `query` (rows, heads, tokens, d), `key` and `value` (rows, key-value heads, keys, d), `mask` over these keys (True
    or 0: seen; None: causal), `first_key` and `first_value` (key-value heads, prefix, d), which every token sees.
    One product reads the prefix for all rows, so its keys are not copied for each of them.
    """
    rows, heads, tokens, width = query.shape
    shared = key.shape[1]
    fold = heads // shared
    q = (query * scale).reshape(rows, shared, fold * tokens, width)
    wide = exact(q)  # as in retune.llm.packing.chunk_attention
    q = q.to(wide)
    far = torch.matmul(q.transpose(0, 1).reshape(shared, -1, width), first_key.to(wide).transpose(1, 2))
    far = far.view(shared, rows, fold, tokens, -1).permute(1, 0, 2, 3, 4)
    near = torch.matmul(q, key.to(wide).transpose(2, 3)).view(rows, shared, fold, tokens, -1)
    if mask is None and tokens > 1:
        mask = torch.ones(1, 1, tokens, key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - tokens)
    if mask is not None:
        mask = mask[:, :, None, :, : key.shape[2]]
        near = near.masked_fill(~mask, torch.finfo(near.dtype).min) if mask.dtype == torch.bool else near + mask
    scores = torch.cat([far, near], dim=-1)
    weights = scores.softmax(-1).to(value.dtype)
    length = first_key.shape[1]
    common = weights[..., :length].permute(1, 0, 2, 3, 4).reshape(shared, -1, length)
    out = torch.matmul(common, first_value).view(shared, rows, fold, tokens, -1).permute(1, 0, 2, 3, 4)
    out = out + torch.matmul(weights[..., length:].reshape(rows, shared, fold * tokens, -1), value).view_as(out)
    return out.reshape(rows, heads, tokens, -1).transpose(1, 2)
