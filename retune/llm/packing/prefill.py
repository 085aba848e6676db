"""Prompts read as packed rows before a generation: one copy of their common prefix, and a cache of the rest of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache

from retune.llm.packing.batches import Target
from retune.llm.packing.packing import PackedModel
from retune.llm.packing.prefix_attention import Prefix


@dataclass(frozen=True)
class _ReadRow:
    """A packed row that was read: keys and values, and where the sequences stand in it."""

    key_values: list[tuple[torch.Tensor, torch.Tensor]]  # of each layer, (key-value heads, tokens, d) both
    numbers: list[int]  # (sequences,)
    prefix: torch.Tensor  # (prefix,) packed positions of the common prefix
    rest: torch.Tensor  # (sequences, longest rest) packed positions of what follows it, padded at the left by 0


def read_packed(
    packed: PackedModel,
    sequences: Sequence[Sequence[int]],
    prefix_length: int,
    extra: Sequence[Sequence[int]],
    tokens: Sequence[int],
) -> tuple[Prefix, DynamicCache, np.ndarray]:
    """Read sequences whose first `prefix_length` tokens are the same, and with them `extra` ones.

    Gives keys and values of the prefix; a cache of the rest of each of `sequences`, padded at the left; and the logits
    of `tokens` behind each of `extra`, float64 (extra, tokens).
    """
    rows, logits = _read_rows(packed, sequences, prefix_length, extra, tokens)
    given_order = np.argsort([number for row in rows for number in row.numbers])
    cache = DynamicCache(config=packed.model.config.get_text_config())
    prefix_layers = []
    for layer, (key, value) in enumerate(rows[0].key_values):
        prefix_layers.append((key[:, rows[0].prefix], value[:, rows[0].prefix]))
        keys, values = (  # (sequences, key-value heads, longest rest, d)
            torch.cat([row.key_values[layer][which][:, row.rest].transpose(0, 1) for row in rows])[given_order]
            for which in (0, 1)
        )
        cache.update(keys, values, layer)
    return Prefix(prefix_layers), cache, logits


def _read_rows(
    packed: PackedModel,
    sequences: Sequence[Sequence[int]],
    prefix_length: int,
    extra: Sequence[Sequence[int]],
    tokens: Sequence[int],
) -> tuple[list[_ReadRow], np.ndarray]:
    longest_rest, count = max(map(len, sequences)) - prefix_length, len(sequences)
    targets: list[list[Target]] = [[] for _ in sequences]
    targets += [[(len(sequence) - 1, token, 1.0) for token in tokens] for sequence in extra]
    logits = torch.zeros(len(extra) * len(tokens), dtype=torch.float64)  # (extra * tokens,)
    rows = []
    for batch in packed.batches([*sequences, *extra], targets, packed.limit.size):
        key_values, batch_logits = packed.prefill(batch)
        logits[batch.target_numbers] = batch_logits.double()
        assert batch.row is not None
        standing = zip(batch.row.sequences, batch.row.paths, strict=True)
        paths = {number: path for number, path in standing if number < count}
        if not paths:
            continue
        prefix = next(iter(paths.values()))[:prefix_length]
        rest = [np.pad(path[prefix_length:], (longest_rest - len(path) + prefix_length, 0)) for path in paths.values()]
        rows.append(_ReadRow(key_values, list(paths), torch.from_numpy(prefix), torch.from_numpy(np.stack(rest))))
    return rows, logits.view(len(extra), len(tokens)).numpy()
