"""The attention kernel `chunks` of `tree_attention`: small batches of queries with the keys of their own history.

Forwards and backwards by hand, as batched matrix products whose operands lie in memory as a processor's library wants
them: through autograd the same took three times as long, nearly all of it for copies, conversions and transpositions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from retune.llm.packing.output_head import exact

if TYPE_CHECKING:
    from retune.llm.packing.tree_attention import Tree


def chunked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, tree: Tree, window: int | None
) -> torch.Tensor:
    """The kernel `chunks`: query (heads, tokens, d), key and value (key-value heads, tokens, d) -> (tokens, heads, d).

    The history that all chunks of a group share is read by one product for all of them; the rest of each one's history,
    and its own tokens, by a batched one. A sequence that begins the row has no history: torch's causal kernel serves
    it, where no gradient is wanted (its backward pass is the slower one).
    """
    learns = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    heads, _, width = query.shape
    shared = key.shape[0]
    fold = heads // shared  # query heads that read one key-value head
    query, key, value = (query * scale).transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)  # tokens first
    outs = []
    for number, group in enumerate(tree.groups):
        chunks, longest = group.queries.shape
        common, own = len(group.common), group.keys.shape[1]
        if not learns and chunks == 1 and common == 0 and (window is None or own <= window):
            outs.append(_causal(*(rows[group.queries[0]] for rows in (query, key, value))))
            continue
        q = _Take.apply(query, group.queries).view(chunks, longest, shared, fold, width)
        q = q.permute(2, 0, 1, 3, 4).reshape(shared * chunks, longest * fold, width)
        k, v = (_Take.apply(rows, group.keys).permute(2, 0, 1, 3).flatten(0, 1) for rows in (key, value))
        far_k, far_v = (_Take.apply(rows, group.common).transpose(0, 1).contiguous() for rows in (key, value))
        bias = tree.bias(number, window, query.dtype)
        out = _Attend.apply(q, k, v, far_k, far_v, bias, window is not None)
        out = out.view(shared, chunks, longest, fold, -1).permute(1, 2, 0, 3, 4)
        outs.append(out.reshape(chunks * longest, heads, -1))
    return _Take.apply(torch.cat(outs), tree.inverse)


class _Attend(torch.autograd.Function):
    """Softmax attention of S key-value heads over keys common to all chunks and keys of each chunk's own.

    q (S * chunks, n, d), n = T * fold queries; k and v (S * chunks, own, d); far_k and far_v (S, C, d); bias
    (chunks, T, C + own), added to the scores, to those of the common keys only if `far` -> (S * chunks, n, d).
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        far_k: torch.Tensor,
        far_v: torch.Tensor,
        bias: torch.Tensor,
        far: bool,
    ) -> torch.Tensor:
        shared, common, width = far_k.shape
        chunks, longest, _ = bias.shape
        wide = exact(q)
        # 16 bits would round a score of 200 (Qwen's keys have large biases) by up to a half
        scores = torch.bmm(q.to(wide), k.to(wide).transpose(1, 2))
        near_bias = bias[..., common:] if common else bias
        scores.view(shared, chunks, longest, -1, scores.shape[-1]).add_(near_bias[None, :, :, None])
        if common:
            seen = torch.bmm(q.to(wide).view(shared, -1, width), far_k.to(wide).transpose(1, 2))
            if far:
                seen.view(shared, chunks, longest, -1, common).add_(bias[None, :, :, None, :common])
            scores = torch.cat([seen.view(*q.shape[:2], common), scores], dim=-1)
        weights = torch.softmax(scores, -1).to(q.dtype)
        far_weights = weights[..., :common].reshape(shared, q.shape[0] // shared * q.shape[1], common)
        weights = weights[..., common:].contiguous()
        out = torch.bmm(weights, v)
        if common:
            out += torch.bmm(far_weights, far_v).view_as(out)
        ctx.save_for_backward(q, k, v, far_k, far_v, weights, far_weights, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        q, k, v, far_k, far_v, weights, far_weights, out = ctx.saved_tensors
        gradient = gradient.contiguous()
        wide = exact(q)
        mean = (gradient.to(wide) * out.to(wide)).sum(-1, keepdim=True).to(q.dtype)  # of d out / d weight, by weight
        d_v = torch.bmm(gradient.transpose(1, 2), weights).transpose(1, 2)
        scores = torch.bmm(gradient, v.transpose(1, 2)).sub_(mean).mul_(weights)
        d_q = torch.bmm(scores, k)
        d_k = torch.bmm(q.transpose(1, 2), scores).transpose(1, 2)
        if not far_k.shape[1]:
            return d_q, d_k, d_v, None, None, None, None
        shared, _, width = far_k.shape
        flat, far_gradient = q.view(shared, -1, width), gradient.view(shared, -1, gradient.shape[-1])
        d_far_v = torch.bmm(far_gradient.transpose(1, 2), far_weights).transpose(1, 2)
        scores = torch.bmm(far_gradient, far_v.transpose(1, 2)).sub_(mean.view(shared, -1, 1)).mul_(far_weights)
        d_q += torch.bmm(scores, far_k).view_as(d_q)
        d_far_k = torch.bmm(flat.transpose(1, 2), scores).transpose(1, 2)
        return d_q, d_k, d_v, d_far_k, d_far_v, None, None


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Plain causal attention, tokens first: (tokens, heads, d)."""
    query, key, value = (rows.transpose(0, 1)[None] for rows in (query, key, value))
    out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0, enable_gqa=True)
    return out[0].transpose(0, 1)


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
        flat = gradient.flatten(0, index.dim() - 1).flatten(1).to(exact(gradient))
        total = torch.zeros((ctx.shape[0], flat.shape[1]), dtype=flat.dtype, device=flat.device)
        total.scatter_add_(0, index.reshape(-1, 1).expand_as(flat), flat)
        return total.to(ctx.dtype).view(ctx.shape), None
