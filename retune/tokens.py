"""Token ids of texts and pairs for the encoders: cut at a length, counted, padded into batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Encoded:
    """Token ids of one input, its token types where the model has several, and whether it was cut."""

    ids: list[int]
    types: list[int] | None
    truncated: bool


def tokenizer_of(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a base or model folder."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tokenizer


def source_of(base: Path) -> dict[str, Any]:
    """The base's SOURCE.json (`pooling`, `query_prefix`, ...)."""
    source: dict[str, Any] = json.loads((base / "SOURCE.json").read_text(encoding="utf-8"))
    return source


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], others: Sequence[str] | None, max_length: int
) -> list[Encoded]:
    """Token ids with special tokens of every text, or pair of texts; at most `max_length` of them.

    What is longer is cut at the end; of a pair, the longer text loses tokens until both fit.
    """
    if not texts:
        return []
    more = [list(others)] if others is not None else []
    whole = tokenizer(list(texts), *more, verbose=False)
    lengths = [len(ids) for ids in whole["input_ids"]]
    cut = whole
    if max(lengths) > max_length:
        cut = tokenizer(list(texts), *more, truncation="longest_first", max_length=max_length)
    types = cut.get("token_type_ids") or [None] * len(lengths)
    return [
        Encoded(ids, kinds, length > max_length)
        for ids, kinds, length in zip(cut["input_ids"], types, lengths, strict=True)
    ]


def pad(rows: Sequence[Encoded], pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and, where known, `token_type_ids`: [rows, longest], padded on the right."""
    width = max(len(row.ids) for row in rows)
    batch = {
        "input_ids": torch.tensor([row.ids + [pad_id] * (width - len(row.ids)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows]),
    }
    if rows[0].types is not None:
        batch["token_type_ids"] = torch.tensor([(row.types or []) + [0] * (width - len(row.ids)) for row in rows])
    return batch


def by_length(rows: Sequence[Encoded], size: int) -> list[list[int]]:
    """Row numbers in batches of `size`, longest first: little padding, and a lack of memory shows at once."""
    ranked = sorted(range(len(rows)), key=lambda i: (-len(rows[i].ids), i))
    return [ranked[start : start + size] for start in range(0, len(ranked), size)]
