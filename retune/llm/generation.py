"""Answers that a causal LM writes: what prompts share is computed once, and what all begin with is kept once.

Greedy, or sampled with a seed for each row. On a CUDA GPU transformers' continuous batching writes greedy answers (it
shares the blocks of equal prefixes). Else the prompts of a batch are read as packed rows (retune.llm.packing.packing),
and all rows attend to one copy of the keys and values of their common beginning; a model without such attention gets
padded batches of similar length, each row with a copy. Rows leave their batch when they are done.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper

from retune import stable_hash
from retune.llm.packing import output_head, tree_attention
from retune.llm.packing.packing import Packing, Triplet
from retune.llm.packing.prefix_attention import Prefix
from retune.progress import bar
from retune.training import out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 16
"""Prompts that are continued together on a processor."""
LEAVING = 0.25
"""Share of a batch that is done when it is made smaller: moving the keys and values of the others takes time, too."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: `temperature` above 0, from the likeliest that make up `top_p`."""

    temperature: float
    top_p: float
    seed: int


@dataclass
class Watch:
    """Logits of some `tokens` (at least one) that are found on the way, float32 or wider (tokens,), by row.

    `aside`: behind another sequence, that begins much as the row's prompt does. `written`: behind the prompt, and
    behind each token that was written. Rows whose prompts were not read as packed rows are missing.
    """

    tokens: list[int]
    asides: Sequence[Sequence[int]]
    aside: dict[int, np.ndarray] = field(default_factory=dict)
    written: dict[int, list[np.ndarray]] = field(default_factory=dict)


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
    watch: Watch | None = None,
) -> list[list[int]]:
    """Token ids that follow each prompt, in the order of the prompts, without the closing `end`.

    With `sampling` each token is drawn; `keys` (ids of the rows, say) tell the rows apart, and a row's draws follow
    from its key and the seed alone. `watch` takes what it asks for. The model's mode (eval) is the caller's.
    """
    if model.device.type == "cuda" and sampling is None:
        return _continuous(model, prompts, end, max_new_tokens, progress)
    answers: list[list[int]] = [[] for _ in prompts]
    head = _head(model, prompts, max_new_tokens)
    before, order = None, sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    if head and model.config._attn_implementation == tree_attention.NAME:
        before, order = Packing(model), sorted(order, key=lambda row: tuple(prompts[row]))
    elif head:  # without the output head, whose logits of every token nobody reads
        shared = torch.tensor([prompts[0][:head]], device=model.device)
        before = model.get_decoder()(shared, use_cache=True).past_key_values

    def write(batch: Sequence[int]) -> list[list[int]]:
        choose = _Sampler(sampling, [keys[row] for row in batch]) if sampling else _greedy
        watching = _Watching(watch, batch) if watch and isinstance(before, Packing) else None
        return _batch(model, [prompts[row] for row in batch], head, before, end, max_new_tokens, choose, watching)

    with bar(total=len(prompts), desc="generating", unit="row", disable=not progress) as done:
        for batch, found in out_of_memory.in_batches(order, out_of_memory.Limit(rows, "rows", "generation"), write):
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
    watching: _Watching | None,
) -> list[list[int]]:
    """One batch: the common head, padding, the rest of each prompt; the padding is masked and counts no position.

    `before` is what reads prompts as packed rows, or a cache of the head to copy for each row; None without a head.
    Rows that are done leave the batch as soon as they are `LEAVING` of it.
    """
    width, device = max(map(len, prompts)), model.device
    ids = torch.tensor([[*[end] * (width - len(p)), *p[head:]] for p in prompts], device=device)
    seen = torch.tensor([[1] * head + [0] * (width - len(p)) + [1] * (len(p) - head) for p in prompts], device=device)
    places = (seen.cumsum(1) - 1).clamp(min=0)[:, head:]
    more: dict[str, Any] = {}
    # All but the last tokens by themselves: behind a slice of states, torch copies the head's weights for each row.
    if isinstance(before, Packing):
        more = {"output_hidden_states": watching is not None}
        more["prefix"], cache = _read(before, [p[:-1] for p in prompts], head, watching)
        seen = seen[:, head:]
    else:
        cache = copy.deepcopy(before)
        if cache is not None:
            cache.batch_repeat_interleave(len(prompts))
        if ids.shape[1] > 1:
            cache = model.get_decoder()(
                input_ids=ids[:, :-1], attention_mask=seen[:, :-1], position_ids=places[:, :-1],
                past_key_values=cache, use_cache=True,
            ).past_key_values  # fmt: skip
    ids, places = ids[:, -1:], places[:, -1:]
    written: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # those that are still in the batch
    open_ = set(rows)
    for step in range(max_new_tokens):
        out = model(
            input_ids=ids, attention_mask=seen, position_ids=places, past_key_values=cache, use_cache=True, **more
        )
        cache = out.past_key_values
        if watching is not None:
            watching.note(model, out.hidden_states[-1][:, -1], rows, open_)
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


class _Watching:
    """The `Watch` of one batch: `rows[i]` is the i-th prompt's among all."""

    def __init__(self, watch: Watch, rows: Sequence[int]) -> None:
        self.watch, self.rows = watch, list(rows)
        self.asides = [watch.asides[row] for row in rows]
        watch.written |= {row: [] for row in rows}  # a batch that failed for lack of memory begins anew

    def note(self, model: PreTrainedModel, states: torch.Tensor, rows: list[int], open_: set[int]) -> None:
        """Take the logits behind the last states (rows, width) of those that are still written."""
        head, tokens = model.get_output_embeddings(), torch.tensor(self.watch.tokens, device=states.device)
        at = torch.arange(len(rows), device=states.device).repeat_interleave(len(tokens))
        found = output_head.logits(states, head.weight, head.bias, at, tokens.repeat(len(rows)))
        for row, logits in zip(rows, found.view(len(rows), -1).cpu().numpy(), strict=True):
            if row in open_:
                self.watch.written[self.rows[row]].append(logits)


def _read(
    packing: Packing, sequences: list[Sequence[int]], head: int, watching: _Watching | None
) -> tuple[Prefix, Any]:
    """Keys and values of what all sequences begin with, and a cache of the rest of each, padded at the left."""
    width, count = max(map(len, sequences)) - head, len(sequences)
    cache, first, firsts = DynamicCache(config=packing.model.config.get_text_config()), None, []
    asides, tokens = (watching.asides, watching.watch.tokens) if watching else ([], [])
    triplets: list[list[Triplet]] = [[] for _ in sequences]
    triplets += [[(len(aside) - 1, token, 1.0) for token in tokens] for aside in asides]
    logits = torch.zeros(len(asides) * len(tokens), dtype=torch.float64)
    found, order = [], []  # of each part its keys and values, and the packed position of every token behind the head
    for part in packing.parts([*sequences, *asides], triplets, packing.limit.size):
        kept, there = packing.read(part)
        logits[part.order] = there.double()
        assert part.row is not None
        paths = [
            (number, path) for number, path in zip(part.row.sequences, part.row.paths, strict=True) if number < count
        ]
        if not paths:
            continue
        order += [number for number, _ in paths]
        first = first or (kept, torch.from_numpy(paths[0][1][:head]))
        rest = [np.pad(path[head:], (width - (len(path) - head), 0)) for _, path in paths]
        found.append((kept, torch.from_numpy(np.stack(rest))))
    assert first is not None
    back = np.argsort(order)
    for layer, (key, value) in enumerate(first[0]):
        firsts.append((key[:, first[1]], value[:, first[1]]))
        both = []
        for which in (0, 1):
            both.append(torch.cat([kept[layer][which][:, at].transpose(0, 1) for kept, at in found])[back])
        cache.update(*both, layer)
    if watching:
        by_row = logits.view(len(asides), -1).numpy()
        watching.watch.aside |= dict(zip(watching.rows, by_row, strict=True))
    return Prefix(firsts), cache


def _greedy(logits: torch.Tensor, _rows: list[int]) -> torch.Tensor:
    if logits.device.type == "cpu":  # numpy's is four times as fast as torch's, in 16 bits
        return torch.from_numpy(logits.float().numpy().argmax(-1))
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
