"""Answers that a causal LM writes: what all prompts begin with is computed once, rows of similar length share a batch.

Greedy, or sampled with a seed for each row. On a CUDA GPU transformers' continuous batching writes greedy answers (it
shares the blocks of equal prefixes); else the keys and values of the common beginning are computed once, and all rows
of a batch read them (or get a copy, where the model has no such attention). Rows leave their batch when they are done.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper

from retune import memory, stable_hash, tree_attention
from retune.prefix_attention import Prefix
from retune.progress import bar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 16
"""Prompts that are continued together on a processor."""
READ = 16
"""Prompts that are read together, so that short ones are not padded to the longest of a large batch."""
LEAVING = 0.25
"""Share of a batch that is done when it is made smaller: moving the keys and values of the others takes time, too."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: `temperature` above 0, from the likeliest that make up `top_p`."""

    temperature: float
    top_p: float
    seed: int


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    end: int,
    max_new_tokens: int,
    rows: int = ROWS,
    progress: bool = False,
    sampling: Sampling | None = None,
    keys: Sequence[object] = (),
) -> list[list[int]]:
    """Token ids that follow each prompt, in the order of the prompts, without the closing `end`.

    With `sampling` each token is drawn; `keys` (ids of the rows, say) tell the rows apart, and a row's draws follow
    from its key and the seed alone. The model's mode (eval) is the caller's.
    """
    if model.device.type == "cuda" and sampling is None:
        return _continuous(model, prompts, end, max_new_tokens, progress)
    answers: list[list[int]] = [[] for _ in prompts]
    head = _head(model, prompts, max_new_tokens)
    cache = None
    if head:  # without the output head, whose logits of every token nobody reads
        shared = torch.tensor([prompts[0][:head]], device=model.device)
        cache = model.get_decoder()(shared, use_cache=True).past_key_values
    prefix = None
    if cache is not None and model.config._attn_implementation == tree_attention.NAME:
        prefix = Prefix([(layer.keys[0], layer.values[0]) for layer in cache.layers])
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))

    def write(batch: Sequence[int]) -> list[list[int]]:
        choose = _Sampler(sampling, [keys[row] for row in batch]) if sampling else _greedy
        return _batch(model, [prompts[row] for row in batch], head, prefix or cache, end, max_new_tokens, choose)

    with bar(total=len(prompts), desc="generating", unit="row", disable=not progress) as done:
        for batch, found in memory.in_batches(order, memory.Limit(rows, "rows", "generation"), write):
            for row, answer in zip(batch, found, strict=True):
                answers[row] = answer
            done.update(len(batch))
    return answers


def _batch(
    model: PreTrainedModel,
    prompts: list[Sequence[int]],
    head: int,
    before: Any,
    end: int,
    max_new_tokens: int,
    choose: Callable[[torch.Tensor, list[int]], torch.Tensor],
) -> list[list[int]]:
    """One batch: the common head, padding, the rest of each prompt; the padding is masked and counts no position.

    `before` are keys and values of the head: a `Prefix`, which all rows read, or a cache to copy for each; None without
    a head. Rows that are done leave the batch as soon as they are `LEAVING` of it.
    """
    width, device = max(map(len, prompts)), model.device
    ids = torch.tensor([[*[end] * (width - len(p)), *p[head:]] for p in prompts], device=device)
    seen = torch.tensor([[1] * head + [0] * (width - len(p)) + [1] * (len(p) - head) for p in prompts], device=device)
    places = (seen.cumsum(1) - 1).clamp(min=0)[:, head:]
    cache, more = None, {}
    if isinstance(before, Prefix):
        more, seen = {"prefix": before}, seen[:, head:]
    elif before is not None:
        cache = copy.deepcopy(before)
        cache.batch_repeat_interleave(len(prompts))
    written: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # those that are still in the batch
    open_ = set(rows)
    if ids.shape[1] > 1:
        # All but the last tokens by themselves: behind a slice of states, torch copies the head's weights for each row.
        cache = _read(model, ids[:, :-1], seen[:, :-1], places[:, :-1], cache, more)
        ids, places = ids[:, -1:], places[:, -1:]
    for step in range(max_new_tokens):
        out = model(
            input_ids=ids, attention_mask=seen, position_ids=places, past_key_values=cache, use_cache=True, **more
        )
        cache = out.past_key_values
        chosen = choose(out.logits[:, -1], rows)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if row in open_:
                open_.discard(row) if token == end else written[row].append(token)
        if not open_ or step + 1 == max_new_tokens:
            break
        ids, places = chosen[:, None], places + 1
        if len(rows) - len(open_) >= max(1, LEAVING * len(rows)):
            stay = torch.tensor([place for place, row in enumerate(rows) if row in open_], device=device)
            cache.batch_select_indices(stay)
            ids, seen, places = ids[stay], seen[stay], places[stay]
            rows = [row for row in rows if row in open_]
        seen = torch.cat([seen, seen.new_ones(len(rows), 1)], dim=1)
    return written


def _read(
    model: PreTrainedModel,
    ids: torch.Tensor,
    seen: torch.Tensor,
    places: torch.Tensor,
    cache: Any,
    more: dict[str, Any],
) -> Any:
    """The cache behind these tokens, padded at the left; behind a prefix by `READ` rows, each without its padding.

    The rows stand by length, longest first.
    """
    decoder, width = model.get_decoder(), ids.shape[1]
    if not more:
        return decoder(
            input_ids=ids, attention_mask=seen, position_ids=places, past_key_values=cache, use_cache=True
        ).past_key_values
    parts = []
    for start in range(0, len(ids), READ):
        here = slice(start, start + READ)
        first = width - max(1, int(seen[here].sum(1).max()))
        inputs = {"input_ids": ids, "attention_mask": seen, "position_ids": places}
        cut = {name: value[here, first:] for name, value in inputs.items()}
        parts.append((first, decoder(**cut, use_cache=True, **more).past_key_values))
    cache = parts[0][1]
    for number, layer in enumerate(cache.layers):
        for name in ("keys", "values"):
            each = [F.pad(getattr(part.layers[number], name), (0, 0, first, 0)) for first, part in parts]
            setattr(layer, name, torch.cat(each))
    return cache


def _greedy(logits: torch.Tensor, _rows: list[int]) -> torch.Tensor:
    return logits.argmax(-1)


class _Sampler:
    """Draws each row's tokens from a generator of its own, so that they do not depend on the rows around it.

    The largest of logits plus Gumbel noise is a draw from their softmax (Gumbel 1954; Maddison et al. 2014); the
    temperature and the cut at `top_p` before it are those of transformers.
    """

    def __init__(self, sampling: Sampling, keys: Sequence[object]) -> None:
        self.warpers: list[Any] = [TemperatureLogitsWarper(float(sampling.temperature))]
        if sampling.top_p < 1:
            self.warpers.append(TopPLogitsWarper(sampling.top_p))
        seeds = [stable_hash.number("generation", sampling.seed, key) >> 1 for key in keys]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, logits: torch.Tensor, rows: list[int]) -> torch.Tensor:
        scores = logits.float()
        for warper in self.warpers:
            scores = warper(None, scores)
        noise = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=self.generators[r]) for r in rows])
        return (scores - noise.log().to(scores.device)).argmax(-1)


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
