"""The time that a training would take if it did nothing but its matrix products, at the speed that they have here.

Counted for frozen weights with an adapter: 2 floating-point operations per weight and token forwards, and 2 backwards
for the gradient of the activations; the adapter's own products; attention's two products over the history that a token
sees, forwards and twice backwards; the head where a loss is. Norms, activations, softmax and the optimiser count
nothing, though they take time.
"""

from __future__ import annotations

import time
from typing import Any

import torch

TABLES = {"embed_tokens", "lm_head"}
"""Embeddings are looked up, and the head is counted by the targets."""

LOOKS = 0.5
"""Seconds of the measurement of the speed."""


def operations(model: Any, tokens: int, pairs: int, targets: int) -> float:
    """Of one epoch: `tokens` computed, `pairs` of a token with one that it sees, `targets` positions with a loss."""
    config = model.config.get_text_config()
    inner = [w for name, w in model.named_parameters() if w.ndim == 2 and not TABLES & set(name.split("."))]
    frozen = sum(w.numel() for w in inner if not w.requires_grad)
    adapter = sum(w.numel() for w in inner if w.requires_grad)
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    attention = 12.0 * pairs * width * config.num_hidden_layers
    head = 4.0 * targets * config.vocab_size * config.hidden_size
    return (4.0 * frozen + 6.0 * adapter) * tokens + attention + head


def speed(model: Any, tokens: int, dtype: torch.dtype) -> float:
    """Operations per second of the model's largest product in a layer with so many tokens, the median of many."""
    config = model.config.get_text_config()
    x = torch.randn(tokens, config.hidden_size).to(dtype)
    w = torch.randn(config.hidden_size, config.intermediate_size).to(dtype)
    times: list[float] = []
    begin = time.monotonic()
    while time.monotonic() - begin < LOOKS or len(times) < 5:
        start = time.monotonic()
        x @ w
        times.append(time.monotonic() - start)
    return 2.0 * tokens * w.numel() / sorted(times)[len(times) // 2]
