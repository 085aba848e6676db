"""How many tokens an encoder has positions for, by its config.json alone: `training.max_length` goes no further."""

from __future__ import annotations

import json
import logging
from pathlib import Path

log = logging.getLogger("retune")

BEHIND_PADDING = (
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "markuplm", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip
"""Model types that count positions from behind that of padding: 514 of them are 512 tokens."""


def of(folder: Path) -> int | None:
    """The most tokens of one input that the checkpoint in `folder` reads; None where nothing limits it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    count = config.get("max_position_embeddings")
    if not count or config.get("position_biased_input") is False:  # DeBERTa tells distances, of any length
        return None
    if config.get("model_type") in BEHIND_PADDING:
        padding = config.get("pad_token_id")
        count -= 1 + (1 if padding is None else padding)
    return int(count)


def within(folder: Path, max_length: int) -> int:
    """`training.max_length`, or what the checkpoint in `folder` has positions for where that is less, which is said."""
    count = of(folder)
    if count is None or count >= max_length:
        return max_length
    log.warning("max_length %d: the checkpoint has no positions beyond, training.max_length is %d", count, max_length)
    return count
