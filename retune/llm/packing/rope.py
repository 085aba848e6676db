"""Rotary positions that depend on how long a sequence is: dynamic NTK scaling, and LongRoPE (Ding et al. 2024).

Beyond a limit, such a model turns the keys of the first tokens by other angles in a long sequence than in a short one,
so what sequences share cannot be read once for all of them, and no batch may mix them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn


def length_limit(model: nn.Module) -> int | None:
    """Tokens up to which positions do not depend on a sequence's length; None: they never do."""
    return min((limit for _, limit in _limits(model)), default=None)


def apart(model: nn.Module, lengths: Sequence[int], more: int) -> tuple[list[list[int]], list[int]]:
    """Rows that may share batches while each grows from its length by `more` tokens, and rows without a usable cache.

    A row that grows across the limit turns all its keys anew there; beyond it a dynamic model does for every token.
    """
    if not (limits := list(_limits(model))):
        return [list(range(len(lengths)))], []
    limit, fixed = min(limit for _, limit in limits), all(kind == "longrope" for kind, _ in limits)
    below = [row for row, length in enumerate(lengths) if length + more <= limit]
    beyond = [row for row, length in enumerate(lengths) if fixed and length > limit + 1]
    return [rows for rows in (below, beyond) if rows], sorted(set(range(len(lengths))) - set(below) - set(beyond))


def _limits(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Kind and limit of all angles that depend on the length."""
    for module in _rotary(model):
        for kind, parameters in _kinds(module):
            if "dynamic" in kind:
                yield kind, module.original_max_seq_len
            elif kind == "longrope":
                yield kind, parameters["original_max_position_embeddings"]


def forget(model: nn.Module) -> None:
    """Undo what an earlier, longer sequence left in a dynamic model, which is right for a shorter one no more."""
    for module in _rotary(model):
        for name in [name for name in module._buffers if name.endswith("inv_freq") and "original" not in name]:
            original = getattr(module, name.replace("inv_freq", "original_inv_freq"), None)
            if any("dynamic" in kind for kind, _ in _kinds(module)) and original is not None:
                module._buffers[name] = original.to(module._buffers[name].device)
        for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
            setattr(module, name, module.original_max_seq_len)


def _rotary(model: nn.Module) -> Iterator[Any]:
    return (module for module in model.modules() if isinstance(getattr(module, "rope_type", None), str | dict))


def _kinds(module: Any) -> list[tuple[str, Any]]:
    """Kind and parameters of each set of angles; some models have one for each kind of layer."""
    parameters = getattr(module.config, "rope_parameters", None) or {}
    if isinstance(module.rope_type, str):
        return [(module.rope_type, parameters)]
    return [(kind, parameters.get(layer, {})) for layer, kind in module.rope_type.items()]
