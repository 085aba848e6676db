"""Attention of rows that `generation` writes together: to what all of them begin with, and to their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from retune.llm.packing.output_head import accumulation_dtype


@dataclass(frozen=True)
class Prefix:
    """What rows that are written together begin with: keys and values (key-value heads, tokens, d) of each layer."""

    layers: list[tuple[torch.Tensor, torch.Tensor]]


def attend_with_prefix(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    prefix_key: torch.Tensor,
    prefix_value: torch.Tensor,
) -> torch.Tensor:
    """Attention of rows that share a prefix, to its one copy and to the keys of their own: (rows, tokens, heads, d).

    `query` (rows, heads, tokens, d), `key` and `value` (rows, key-value heads, keys, d), `mask` over these keys (True
    or 0: seen; None: causal), `prefix_key` and `prefix_value` (key-value heads, prefix, d), which every token sees.
    One product reads the prefix for all rows, so its keys are not copied for each of them.
    """
    rows, heads, tokens, width = query.shape
    kv_heads = key.shape[1]
    fold = heads // kv_heads  # query heads that read one key-value head
    q = (query * scale).reshape(rows, kv_heads, fold * tokens, width)
    wide = accumulation_dtype(q)  # as in retune.llm.packing.chunk_attention
    q = q.to(wide)
    prefix_scores = torch.matmul(q.transpose(0, 1).reshape(kv_heads, -1, width), prefix_key.to(wide).transpose(1, 2))
    # (rows, key-value heads, fold, tokens, prefix)
    prefix_scores = prefix_scores.view(kv_heads, rows, fold, tokens, -1).permute(1, 0, 2, 3, 4)
    # (rows, key-value heads, fold, tokens, keys)
    own_scores = torch.matmul(q, key.to(wide).transpose(2, 3)).view(rows, kv_heads, fold, tokens, -1)
    if mask is None and tokens > 1:
        mask = torch.ones(1, 1, tokens, key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - tokens)
    if mask is not None:
        mask = mask[:, :, None, :, : key.shape[2]]
        if mask.dtype == torch.bool:
            own_scores = own_scores.masked_fill(~mask, torch.finfo(own_scores.dtype).min)
        else:
            own_scores = own_scores + mask
    weights = torch.cat([prefix_scores, own_scores], dim=-1).softmax(-1).to(value.dtype)
    length = prefix_key.shape[1]
    prefix_weights = weights[..., :length].permute(1, 0, 2, 3, 4).reshape(kv_heads, -1, length)
    out = torch.matmul(prefix_weights, prefix_value).view(kv_heads, rows, fold, tokens, -1).permute(1, 0, 2, 3, 4)
    own_weights = weights[..., length:].reshape(rows, kv_heads, fold * tokens, -1)
    out = out + torch.matmul(own_weights, value).view_as(out)  # (rows, key-value heads, fold, tokens, d)
    return out.reshape(rows, heads, tokens, -1).transpose(1, 2)
