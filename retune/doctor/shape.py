"""The size of a pretrained model from its config.json (or its name), without loading it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer; `embeddings` and `parameters` are counts, `file` is the bytes of its weights on disk.

    `query` and `key_value` are the widths of all query heads and of all key heads together, `gated` whether its
    feed-forward part has three matrices, `known` where the sizes are from.
    """

    layers: int
    width: int
    inner: int
    heads: int
    query: int
    key_value: int
    vocabulary: int
    embeddings: int
    parameters: int
    gated: bool
    dtype: str
    file: int
    known: str


def of_folder(folder: Path) -> Shape | None:
    """The shape of a model folder in the Hugging Face layout; None where it has no config.json that says it."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    config = config.get("text_config") or config  # a model that reads pictures too
    try:
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        return _of(config, size, "config.json")
    except (KeyError, TypeError):
        return None


def _of(config: dict[str, Any], size: int, known: str) -> Shape:
    width, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    gated = "num_key_value_heads" in config or config.get("rms_norm_eps") is not None
    head = config.get("head_dim") or width // heads
    query, key_value = head * heads, head * (config.get("num_key_value_heads") or heads)
    inner, vocabulary = config["intermediate_size"], config["vocab_size"]
    experts = config.get("num_local_experts") or config.get("num_experts") or 1
    layer = 2 * width * query + 2 * width * key_value + (3 if gated else 2) * width * inner * experts + 4 * width
    tied = config.get("tie_word_embeddings", True) or not gated
    positions = 0 if gated else config.get("max_position_embeddings", 0)
    embeddings = (vocabulary + positions) * width
    parameters = embeddings + (0 if tied else vocabulary * width) + layers * layer
    dtype = config.get("dtype") or config.get("torch_dtype") or "float32"
    return Shape(
        layers,
        width,
        inner,
        heads,
        query,
        key_value,
        vocabulary,
        embeddings,
        parameters,
        gated,
        str(dtype),
        size,
        known,
    )


NAMED = re.compile(r"(\d+(?:\.\d+)?)(b|m)(?![a-z])", re.IGNORECASE)

CAUSAL = {
    0.135e9: (30, 576, 1536, 9, 3, 49_152),
    0.27e9: (18, 640, 2048, 4, 1, 262_144),
    0.5e9: (24, 896, 4864, 14, 2, 151_936),
    1.6e9: (28, 1536, 8960, 12, 2, 151_936),
    3e9: (36, 2048, 11_008, 16, 2, 151_936),
    8e9: (36, 4096, 12_288, 32, 8, 151_936),
    14e9: (40, 5120, 17_408, 40, 8, 151_936),
    32e9: (64, 5120, 25_600, 64, 8, 151_936),
    72e9: (80, 8192, 29_568, 64, 8, 151_936),
}
"""Parameters -> layers, width, inner width, heads, key heads and vocabulary of a usual LLM of that size."""

BERT = {
    "tiny": (4, 312, 1200, 12),
    "small": (12, 384, 1536, 12),
    "base": (12, 768, 3072, 12),
    "large": (24, 1024, 4096, 16),
}
"""Word in a name -> layers, width, inner width and heads of an encoder."""


def of_name(name: str) -> Shape | None:
    """A model of the size that its name says (`qwen3-8b`, `macbert-base`), shaped as usual ones are; None without."""
    if found := NAMED.search(name):
        total = float(found[1]) * (1e9 if found[2].lower() == "b" else 1e6)
        nearest = min(CAUSAL, key=lambda size: abs(math.log(size / total)))
        layers, width, inner, heads, key_heads, vocabulary = CAUSAL[nearest]
        config = {"num_key_value_heads": key_heads, "tie_word_embeddings": True, "dtype": "bfloat16"}
        like = _of({**_sizes(layers, width, inner, heads, vocabulary), **config}, int(2 * total), "its name")
        return replace(like, parameters=max(int(total), like.embeddings))
    for word, (layers, width, inner, heads) in BERT.items():
        if word in re.split(r"[^a-z]+", name.lower()):
            vocabulary = 250_000 if re.search(r"multilingual|e5|xlm|m3", name.lower()) else 30_000
            like = _of(_sizes(layers, width, inner, heads, vocabulary), 0, "its name")
            return replace(like, file=4 * like.parameters)
    return None


def _sizes(layers: int, width: int, inner: int, heads: int, vocabulary: int) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
    }
