"""Answers that a causal LM writes: what all prompts begin with is computed once, rows of similar length share a batch.

Greedy. On a CUDA GPU transformers' continuous batching does both (it shares the blocks of equal prefixes); elsewhere
the keys and values of the common beginning are computed once and copied into every batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from retune import memory
from retune.progress import bar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 16
"""Prompts that are continued together on a processor."""


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    end: int,
    max_new_tokens: int,
    rows: int = ROWS,
    progress: bool = False,
) -> list[list[int]]:
    """Token ids that follow each prompt, in the order of the prompts, without the closing `end`.

    The model's mode (eval) is the caller's.
    """
    if model.device.type == "cuda":
        return _continuous(model, prompts, end, max_new_tokens, progress)
    answers: list[list[int]] = [[] for _ in prompts]
    head = _head(model, prompts, max_new_tokens)
    cache = (
        model(torch.tensor([prompts[0][:head]], device=model.device), use_cache=True).past_key_values if head else None
    )
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))

    def write(batch: Sequence[int]) -> list[list[int]]:
        return _batch(model, [prompts[row] for row in batch], head, cache, end, max_new_tokens)

    with bar(total=len(prompts), desc="generating", unit="row", disable=not progress) as done:
        for batch, found in memory.in_batches(order, memory.Limit(rows, "rows", "generation"), write):
            for row, answer in zip(batch, found, strict=True):
                answers[row] = answer
            done.update(len(batch))
    return answers


def _batch(
    model: PreTrainedModel, prompts: list[Sequence[int]], head: int, cache: Any, end: int, max_new_tokens: int
) -> list[list[int]]:
    """One batch: the common head, padding, the rest of each prompt; the padding is masked and counts no position."""
    width = max(map(len, prompts))
    ids = torch.tensor([[*p[:head], *[end] * (width - len(p)), *p[head:]] for p in prompts], device=model.device)
    seen = torch.tensor(
        [[1] * head + [0] * (width - len(p)) + [1] * (len(p) - head) for p in prompts], device=model.device
    )
    if cache is not None:
        cache = copy.deepcopy(cache)
        cache.batch_repeat_interleave(len(prompts))
    out = model.generate(
        input_ids=ids,
        attention_mask=seen,
        past_key_values=cache,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
    )
    return [_until(row[width:], end) for row in out.tolist()]


def _continuous(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], end: int, max_new_tokens: int, progress: bool
) -> list[list[int]]:
    """Transformers' continuous batching; its attention is torch's own for the time being."""
    from transformers import GenerationConfig

    before = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    config = GenerationConfig(max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=end, pad_token_id=end)
    try:
        found = model.generate_batch([list(p) for p in prompts], generation_config=config, progress_bar=progress)
    finally:
        model.set_attn_implementation(before)
    outputs = sorted(found.items(), key=lambda item: int(item[0].rsplit("_", 1)[-1]))
    return [_until(output.generated_tokens, end) for _, output in outputs]


def _head(model: PreTrainedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> int:
    """Tokens that all prompts share; none where padding behind them would move the window of a sliding layer."""
    if len(prompts) < 2:
        return 0
    config = model.config.get_text_config()
    sliding = "sliding_attention" in (getattr(config, "layer_types", None) or []) or config.model_type == "mistral"
    window = getattr(config, "sliding_window", None)
    if sliding and window and max(map(len, prompts)) + max_new_tokens > window:
        return 0
    ordered = sorted(map(list, prompts))
    low, high = ordered[0], ordered[-1]
    limit = min(map(len, prompts)) - 1
    return next((i for i in range(limit) if low[i] != high[i]), limit)


def _until(answer: list[int], end: int) -> list[int]:
    return answer[: answer.index(end)] if end in answer else answer
