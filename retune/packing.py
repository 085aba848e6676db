"""Several token sequences through a causal LM in one pass: no padding, their common beginning once, few logits.

`logits_at` is exact: it equals running each sequence alone, but for rounding, forwards and backwards. The sequences
stand behind one another in one row, after the tokens that they all begin with; a mask lets each token see that head
and its own sequence only, and position ids count as if the sequence stood alone. That holds where a token's state
depends on the tokens it sees and on its position alone (`FAMILIES`); any other model gets an ordinary padded batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from retune.prompt import shared_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FAMILIES = ("qwen2", "qwen3", "llama", "mistral", "glm4", "gemma3_text")
"""`model_type` of the models that packing was tested with, value by value."""


def logits_at(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Next-token logits behind the given ascending positions of each row: (positions in all, vocabulary), row by row.

    The vocabulary's projection, the dearest part of a small model, is computed at those positions only.
    """
    return forward(model, inputs(model, rows, positions))


def inputs(model: PreTrainedModel, rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The CPU tensors that `forward` takes, for the token ids of `rows`; `logits_at` tells what they give."""
    packs = model.config.get_text_config().model_type in FAMILIES
    packs = packs and model.config._attn_implementation in ("sdpa", "eager")
    return _packed(model, rows, positions) if packs else _padded(rows, positions)


def forward(model: PreTrainedModel, batch: dict[str, Any]) -> torch.Tensor:
    """Logits of a batch that `inputs` made."""
    logits: torch.Tensor = model(**_to(batch, model.device), use_cache=False).logits
    return logits.flatten(0, -2)


def _padded(rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> dict[str, Any]:
    """An ordinary batch; the padding stands at the right, where causal attention cannot see it, and needs no mask."""
    width = max(map(len, rows))
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    keep = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        keep[index, list(positions[index])] = True
    return {"input_ids": ids, "logits_to_keep": keep}


def _packed(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """One row: the common head, then the rest of each sequence."""
    head = min(shared_head(rows), min(chosen[0] for chosen in positions))
    ids, depth, owner, keep = list(rows[0][:head]), list(range(head)), [-1] * head, [False] * head
    for index, row in enumerate(rows):
        chosen = set(positions[index])
        ids += row[head:]
        depth += range(head, len(row))
        owner += [index] * (len(row) - head)
        keep += [position in chosen for position in range(head, len(row))]
    position_ids, owners = torch.tensor(depth), torch.tensor(owner)
    distance = position_ids[:, None] - position_ids[None, :]  # (tokens, tokens): how far back a seen token stands
    sees = (distance >= 0) & ((owners[None, :] == -1) | (owners[None, :] == owners[:, None]))
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": position_ids[None],
        "attention_mask": _masks(model, sees, distance),
        "logits_to_keep": torch.tensor([keep]),
    }


def _masks(model: PreTrainedModel, sees: torch.Tensor, distance: torch.Tensor) -> Any:
    """The mask in the model's shape: one (1, 1, tokens, tokens), or one for each kind of layer (sliding windows)."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    windowed = "sliding_attention" in kinds or (config.model_type == "mistral" and window)

    def shaped(mask: torch.Tensor) -> torch.Tensor:
        mask = mask[None, None]
        if model.config._attn_implementation == "sdpa":
            return mask
        return torch.zeros(mask.shape, dtype=model.dtype).masked_fill(~mask, torch.finfo(model.dtype).min)

    near = shaped(sees & (distance < window)) if windowed else None
    if kinds == {"full_attention"}:
        return near if windowed else shaped(sees)
    return {"full_attention": shaped(sees), "sliding_attention": near}


def _to(batch: Any, device: torch.device) -> Any:
    return {name: _to(value, device) for name, value in batch.items()} if isinstance(batch, dict) else batch.to(device)
