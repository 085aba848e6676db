"""The attention kernel `chunks` of `tree_attention`: small batches of queries with the keys of their own history.

Forwards and backwards by hand, as batched matrix products whose operands lie in memory as a processor's library wants
them: through autograd the same took three times as long, nearly all of it for copies, conversions and transpositions.

Sizes: `heads` query heads read `kv_heads` key-value heads, `fold` of them each; a group of `tree_attention` has
`chunks` chunks of at most T tokens, C shared keys and L own keys a chunk; d is the width of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from retune.llm.packing.output_head import accumulation_dtype

if TYPE_CHECKING:
    from retune.llm.packing.tree_attention import Group, Tree


def chunk_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, tree: Tree, window: int | None
) -> torch.Tensor:
    """The kernel `chunks`: query (heads, tokens, d), key and value (kv_heads, tokens, d) -> (tokens, heads, d).

    The history that all chunks of a group share is read by one product for all of them; the rest of each one's history,
    and its own tokens, by a batched one. A sequence that begins the row has no history: torch's causal kernel serves
    it, where no gradient is wanted (its backward pass is the slower one).
    """
    learns = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    query = (query * scale).transpose(0, 1)  # (tokens, heads, d)
    key, value = key.transpose(0, 1), value.transpose(0, 1)  # (tokens, kv_heads, d)
    outs = []
    for number, group in enumerate(tree.groups):
        if not learns and _begins_row(group, window):
            outs.append(_causal_attention(*(rows[group.queries[0]] for rows in (query, key, value))))
        else:
            bias = tree.bias(number, window, query.dtype)
            outs.append(_group_attention(query, key, value, group, bias, window is not None))
    return _Take.apply(torch.cat(outs), tree.inverse)  # (tokens, heads, d)


def _begins_row(group: Group, window: int | None) -> bool:
    """Whether a group is one sequence without a history, and shorter than the window."""
    own = group.own_keys.shape[1]
    return len(group.queries) == 1 and len(group.shared_keys) == 0 and (window is None or own <= window)


def _causal_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Plain causal attention, tokens first: (tokens, heads, d)."""
    query, key, value = (rows.transpose(0, 1)[None] for rows in (query, key, value))
    out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0, enable_gqa=True)
    return out[0].transpose(0, 1)


def _group_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, group: Group, bias: torch.Tensor, bias_shared: bool
) -> torch.Tensor:
    """Attention of one group, tokens first: (chunks * T, heads, d), padding included."""
    _, heads, width = query.shape
    kv_heads = key.shape[1]
    fold = heads // kv_heads
    chunks, longest = group.queries.shape
    q = _Take.apply(query, group.queries).view(chunks, longest, kv_heads, fold, width)
    q = q.permute(2, 0, 1, 3, 4).reshape(kv_heads * chunks, longest * fold, width)
    # (kv_heads * chunks, L, d)
    own_k, own_v = (_Take.apply(rows, group.own_keys).permute(2, 0, 1, 3).flatten(0, 1) for rows in (key, value))
    # (kv_heads, C, d)
    shared_k, shared_v = (_Take.apply(rows, group.shared_keys).transpose(0, 1).contiguous() for rows in (key, value))
    out = _SharedAttention.apply(q, own_k, own_v, shared_k, shared_v, bias, bias_shared)
    out = out.view(kv_heads, chunks, longest, fold, -1).permute(1, 2, 0, 3, 4)
    return out.reshape(chunks * longest, heads, -1)


class _SharedAttention(torch.autograd.Function):
    """Softmax attention over keys that all chunks share and keys of each chunk's own.

    q (kv_heads * chunks, n, d), n = T * fold queries; own_k and own_v (kv_heads * chunks, L, d); shared_k and shared_v
    (kv_heads, C, d); bias (chunks, T, C + L), added to the scores, to those of the shared keys only if `bias_shared`
    -> (kv_heads * chunks, n, d).
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        own_k: torch.Tensor,
        own_v: torch.Tensor,
        shared_k: torch.Tensor,
        shared_v: torch.Tensor,
        bias: torch.Tensor,
        bias_shared: bool,
    ) -> torch.Tensor:
        kv_heads, common, _ = shared_k.shape
        scores = _scores(q, own_k, shared_k, bias, bias_shared)
        weights = torch.softmax(scores, -1).to(q.dtype)  # (kv_heads * chunks, n, C + L)
        shared_weights = weights[..., :common].reshape(kv_heads, q.shape[0] // kv_heads * q.shape[1], common)
        own_weights = weights[..., common:].contiguous()
        out = torch.bmm(own_weights, own_v)  # (kv_heads * chunks, n, d)
        if common:
            out += torch.bmm(shared_weights, shared_v).view_as(out)
        ctx.save_for_backward(q, own_k, own_v, shared_k, shared_v, own_weights, shared_weights, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        q, own_k, own_v, shared_k, shared_v, own_weights, shared_weights, out = ctx.saved_tensors
        gradient = gradient.contiguous()  # (kv_heads * chunks, n, d)
        wide = accumulation_dtype(q)
        # (kv_heads * chunks, n, 1): the mean, by weight, of d out / d weight
        mean = (gradient.to(wide) * out.to(wide)).sum(-1, keepdim=True).to(q.dtype)
        d_own_v = torch.bmm(gradient.transpose(1, 2), own_weights).transpose(1, 2)
        d_scores = torch.bmm(gradient, own_v.transpose(1, 2)).sub_(mean).mul_(own_weights)
        d_q = torch.bmm(d_scores, own_k)
        d_own_k = torch.bmm(q.transpose(1, 2), d_scores).transpose(1, 2)
        if not shared_k.shape[1]:
            return d_q, d_own_k, d_own_v, None, None, None, None
        kv_heads, _, width = shared_k.shape
        flat_q = q.view(kv_heads, -1, width)  # (kv_heads, chunks * n, d)
        flat_gradient = gradient.view(kv_heads, -1, gradient.shape[-1])
        d_shared_v = torch.bmm(flat_gradient.transpose(1, 2), shared_weights).transpose(1, 2)
        d_scores = torch.bmm(flat_gradient, shared_v.transpose(1, 2))
        d_scores = d_scores.sub_(mean.view(kv_heads, -1, 1)).mul_(shared_weights)
        d_q += torch.bmm(d_scores, shared_k).view_as(d_q)
        d_shared_k = torch.bmm(flat_q.transpose(1, 2), d_scores).transpose(1, 2)
        return d_q, d_own_k, d_own_v, d_shared_k, d_shared_v, None, None


def _scores(
    q: torch.Tensor, own_k: torch.Tensor, shared_k: torch.Tensor, bias: torch.Tensor, bias_shared: bool
) -> torch.Tensor:
    """(kv_heads * chunks, n, C + L) in float32 or wider.

    16 bits would round a score of 200 (Qwen's keys have large biases) by up to a half.
    """
    kv_heads, common, width = shared_k.shape
    chunks, longest, _ = bias.shape
    wide = accumulation_dtype(q)
    scores = torch.bmm(q.to(wide), own_k.to(wide).transpose(1, 2))  # (kv_heads * chunks, n, L)
    own_bias = bias[..., common:] if common else bias
    scores.view(kv_heads, chunks, longest, -1, scores.shape[-1]).add_(own_bias[None, :, :, None])
    if not common:
        return scores
    # (kv_heads, chunks * n, C)
    shared_scores = torch.bmm(q.to(wide).view(kv_heads, -1, width), shared_k.to(wide).transpose(1, 2))
    if bias_shared:
        shared_bias = bias[None, :, :, None, :common]
        shared_scores.view(kv_heads, chunks, longest, -1, common).add_(shared_bias)
    return torch.cat([shared_scores.view(*q.shape[:2], common), scores], dim=-1)


class _Take(torch.autograd.Function):
    """Rows of a tensor by index; gradients of a row that is taken often are summed in float32, not in 16 bits."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(index)
        ctx.shape, ctx.dtype = rows.shape, rows.dtype
        return rows[index]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (index,) = ctx.saved_tensors
        flat = gradient.flatten(0, index.dim() - 1).flatten(1).to(accumulation_dtype(gradient))  # (taken, width)
        total = torch.zeros((ctx.shape[0], flat.shape[1]), dtype=flat.dtype, device=flat.device)  # (rows, width)
        total.scatter_add_(0, index.reshape(-1, 1).expand_as(flat), flat)
        return total.to(ctx.dtype).view(ctx.shape), None
