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


POOLING = "mean"
"""How tokens become one vector where models/catalog.yaml declares nothing."""


def pooling_of(base: Path) -> str:
    """How the tokens of a base become one vector: `mean` or `cls`."""
    return str(source_of(base).get("pooling", POOLING))


def source_of(base: Path) -> dict[str, Any]:
    """The base's SOURCE.json (`query_prefix`, ..., and `pooling` where the catalog declares it)."""
    source: dict[str, Any] = json.loads((base / "SOURCE.json").read_text(encoding="utf-8"))
    return source


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    others: Sequence[str] | None,
    max_length: int,
    truncation: str = "end",
) -> list[Encoded]:
    """Token ids with special tokens of every text, or pair of texts; at most `max_length` of them.

    Of what is longer, `truncation` leaves out the `middle` or the `end`; of a pair, the longer text loses tokens until
    both fit.
    """
    if not texts:
        return []
    more = [list(others)] if others is not None else []
    whole = tokenizer(list(texts), *more, verbose=False)
    all_types = whole.get("token_type_ids") or [None] * len(texts)
    rows = []
    for row, (ids, types) in enumerate(zip(whole["input_ids"], all_types, strict=True)):
        cut = len(ids) > max_length
        if cut:
            kept = _kept(whole.sequence_ids(row), max_length, truncation)
            ids, types = [ids[i] for i in kept], types and [types[i] for i in kept]
        rows.append(Encoded(ids, types, cut))
    return rows


def _kept(sequences: list[int | None], max_length: int, truncation: str) -> list[int]:
    """The places that stay, from the text that each token belongs to (None: special tokens, which all stay)."""
    places: list[list[int]] = [[], []]
    for place, sequence in enumerate(sequences):
        if sequence is not None:
            places[sequence].append(place)
    room = max(max_length - sequences.count(None), 0)
    half = (room + (len(places[0]) > len(places[1]))) // 2  # an odd token goes to the longer text, as in tokenizers
    first = min(len(places[0]), max(room - len(places[1]), half))
    gone = set()
    for own, level in zip(places, (first, min(len(places[1]), room - first)), strict=True):
        last = level // 2 if truncation == "middle" else 0
        gone.update(own[level - last : len(own) - last])
    return [place for place in range(len(sequences)) if place not in gone]


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


def longest_first(rows: Sequence[Encoded]) -> list[int]:
    """Row numbers by length: batches of neighbours need little padding, and a lack of memory shows at once."""
    return sorted(range(len(rows)), key=lambda i: (-len(rows[i].ids), i))
