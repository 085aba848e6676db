"""Prove that a fetched embedding checkpoint is what it claims: the cosines of known texts."""

from __future__ import annotations

import logging
from pathlib import Path

from retune.errors import RetuneError
from retune.params import Params
from retune.sources.checkpoints.quiet import quiet


def verify(folder: Path, checkpoint: Params, log: logging.Logger) -> None:
    """Raise `RetuneError` where the cosine of a text of `check` to its `text` is outside the tolerance."""
    check = checkpoint.check
    texts = [check.text, *check.cosines]
    vectors = embed(
        folder, [checkpoint.get("query_prefix", "") + text for text in texts], checkpoint.get("pooling", "mean")
    )
    found = {
        text: round(sum(a * b for a, b in zip(vectors[0], vector, strict=True)), 4)
        for text, vector in zip(texts, vectors, strict=True)
    }
    del found[check.text]
    for text, cosine in found.items():
        if abs(cosine - check.cosines[text]) > check.tolerance:
            raise RetuneError(
                f"{checkpoint.name}: the cosine of `{check.text}` and `{text}` is {cosine}, expected "
                f"{check.cosines[text]} +-{check.tolerance}: weights or tokenizer are not what the catalog describes"
            )
    log.info(
        "%s: %d cosines as expected (%s)", checkpoint.name, len(found), ", ".join(f"{c:.3f}" for c in found.values())
    )


def embed(folder: Path, texts: list[str], pooling: str) -> list[list[float]]:
    """Encode a few texts as unit vectors; `pooling` is `mean` or `cls`."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    with quiet():
        tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
        model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        states = model(**tokens).last_hidden_state
    mask = tokens.attention_mask.unsqueeze(-1).to(states.dtype)
    vectors = states[:, 0] if pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
    result: list[list[float]] = torch.nn.functional.normalize(vectors, dim=-1).tolist()
    return result
