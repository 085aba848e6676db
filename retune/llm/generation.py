"""Answers that a causal LM writes: what prompts share is computed once, and what all begin with is kept once.

Greedy, or sampled with a seed for each row. On a CUDA GPU transformers' continuous batching writes greedy answers (it
shares the blocks of equal prefixes). Else the prompts of a batch are read as packed rows (retune.llm.packing.packing),
and all rows attend to one copy of the keys and values of their common prefix; a model without such attention gets
padded batches of similar length, each row with a copy. Rows leave their batch when they are finished.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from retune.llm.packing import output_head, prefill, rope, tree_attention
from retune.llm.packing.packing import PackedModel
from retune.llm.sampling import Sampler, Sampling, greedy
from retune.progress import bar
from retune.training import out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SIZE = 16
"""Prompts that are continued together on a processor."""
FINISHED_SHARE = 0.25
"""Share of a batch that is finished when it is made smaller: moving the others' keys and values takes time, too."""


@dataclass
class LogitsRecorder:
    """Logits of some `tokens` (at least one) that are computed on the way, float32 or wider (tokens,), by row.

    `extra_logits`: behind the row's sequence of `extra_sequences`, which begins much as its prompt does. `step_logits`:
    behind the prompt, and behind each token that was written. Rows whose prompts were not read as packed rows are
    missing.
    """

    tokens: list[int]
    extra_sequences: Sequence[Sequence[int]]
    extra_logits: dict[int, np.ndarray] = field(default_factory=dict)
    step_logits: dict[int, list[np.ndarray]] = field(default_factory=dict)


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    eos_token_id: int,
    max_new_tokens: int,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    sampling: Sampling | None = None,
    keys: Sequence[object] = (),
    recorder: LogitsRecorder | None = None,
) -> list[list[int]]:
    """Token ids that follow each prompt, in the order of the prompts, without the closing `eos_token_id`.

    With `sampling` each token is drawn; `keys` (ids of the rows, say) tell the rows apart, and a row's draws follow
    from its key and the seed alone. `recorder` takes the logits that it asks for. The model's mode (eval) is the
    caller's.
    """
    if model.device.type == "cuda" and sampling is None:
        return _continuous_batching(model, prompts, eos_token_id, max_new_tokens, progress)
    answers: list[list[int]] = [[] for _ in prompts]
    prefix_length = _common_prefix_length(model, prompts, max_new_tokens)
    prefix, order = None, sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    if prefix_length and model.config._attn_implementation == tree_attention.NAME:
        prefix, order = PackedModel(model), sorted(order, key=lambda row: tuple(prompts[row]))
    elif prefix_length:  # without the output head, whose logits of every token nobody reads
        prefix_ids = torch.tensor([prompts[0][:prefix_length]], device=model.device)  # (1, prefix)
        prefix = model.get_decoder()(prefix_ids, use_cache=True).past_key_values
    # transformers' eager attention gives NaN beside padding at the left where a layer has a window
    pads_wrong = model.config._attn_implementation == "eager" and bool(_window(model))
    settings = _Settings(model, eos_token_id, max_new_tokens, prefix_length, prefix)

    def write(rows: Sequence[int]) -> list[list[int]]:
        batch_recorder = _BatchRecorder(recorder, rows) if recorder and isinstance(prefix, PackedModel) else None
        written: list[list[int]] = []
        for part in _unpadded(rows, prompts) if pads_wrong else [rows]:
            next_tokens = Sampler(sampling, [keys[row] for row in part]) if sampling else greedy
            written += _write_batch(settings, [prompts[row] for row in part], next_tokens, batch_recorder)
        return written

    limit = out_of_memory.Limit(batch_size, "rows", "generation")
    with bar(total=len(prompts), desc="generating", unit="row", disable=not progress) as done:
        for rows, written in out_of_memory.in_batches(order, limit, write):
            for row, answer in zip(rows, written, strict=True):
                answers[row] = answer
            done.update(len(rows))
    return answers


@dataclass(frozen=True)
class _Settings:
    """What all batches of a generation have in common."""

    model: PreTrainedModel
    eos_token_id: int
    max_new_tokens: int
    prefix_length: int  # tokens that all prompts begin with
    prefix: Any  # a `PackedModel` that reads prompts as packed rows, or a cache of the prefix to copy; None: no prefix


@dataclass
class _Batch:
    """The rows of a batch that are still in it, and what their next forward pass takes."""

    rows: list[int]  # places among the prompts of the batch
    input_ids: torch.Tensor  # (rows, 1) the last token of each
    position_ids: torch.Tensor  # (rows, 1)
    attention_mask: torch.Tensor  # (rows, keys in the cache + 1), 1: a real token, 0: padding at the left
    cache: Any  # keys and values of the tokens before
    more: dict[str, Any]  # further arguments of the model

    def forward(self, model: PreTrainedModel) -> Any:
        """The model's output for the last tokens, which come into the cache."""
        out = model(
            input_ids=self.input_ids, attention_mask=self.attention_mask, position_ids=self.position_ids,
            past_key_values=self.cache, use_cache=True, **self.more,
        )  # fmt: skip
        self.cache = out.past_key_values
        return out

    def advance(self, tokens: torch.Tensor, unfinished: set[int]) -> None:
        """Go on with the tokens (rows,) that were written; finished rows leave once they are `FINISHED_SHARE`."""
        self.input_ids, self.position_ids = tokens[:, None], self.position_ids + 1
        mask = self.attention_mask
        if len(self.rows) - len(unfinished) >= max(1, FINISHED_SHARE * len(self.rows)):
            places = [place for place, row in enumerate(self.rows) if row in unfinished]
            staying = torch.tensor(places, device=tokens.device)
            self.cache.batch_select_indices(staying)
            self.input_ids, self.position_ids = self.input_ids[staying], self.position_ids[staying]
            mask, self.rows = mask[staying], [self.rows[place] for place in places]
        self.attention_mask = torch.cat([mask, mask.new_ones(len(self.rows), 1)], dim=1)


def _write_batch(
    settings: _Settings,
    prompts: list[Sequence[int]],
    next_tokens: Callable[[torch.Tensor, list[int]], torch.Tensor],
    recorder: _BatchRecorder | None,
) -> list[list[int]]:
    """What follows each prompt of one batch; `next_tokens(logits, rows)` chooses from (rows, vocabulary)."""
    batch = _start_batch(settings, prompts, recorder)
    answers: list[list[int]] = [[] for _ in prompts]
    unfinished = set(batch.rows)
    for step in range(settings.max_new_tokens):
        out = batch.forward(settings.model)
        if recorder is not None:
            recorder.record(settings.prefix.head, out, batch.rows, unfinished)
        tokens = next_tokens(out.logits[:, -1], batch.rows)  # (rows,)
        for row, token in zip(batch.rows, tokens.tolist(), strict=True):
            if row in unfinished:
                unfinished.discard(row) if token == settings.eos_token_id else answers[row].append(token)
        if not unfinished or step + 1 == settings.max_new_tokens:
            break
        batch.advance(tokens, unfinished)
    return answers


def _start_batch(settings: _Settings, prompts: list[Sequence[int]], recorder: _BatchRecorder | None) -> _Batch:
    """A batch whose cache holds all but the last token of each prompt; padding is masked and counts no position.

    The last tokens are read by themselves: behind a slice of states, torch copies the head's weights for each row.
    """
    prefix_length, width, device = settings.prefix_length, max(map(len, prompts)), settings.model.device
    ids = [[*[settings.eos_token_id] * (width - len(prompt)), *prompt[prefix_length:]] for prompt in prompts]
    seen = [  # the prefix, padding, the rest
        [1] * prefix_length + [0] * (width - len(prompt)) + [1] * (len(prompt) - prefix_length) for prompt in prompts
    ]
    input_ids = torch.tensor(ids, device=device)  # (rows, width - prefix), padded at the left
    mask = torch.tensor(seen, device=device)  # (rows, width), 1: a real token
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)[:, prefix_length:]  # (rows, width - prefix)
    more: dict[str, Any] = {}
    if isinstance(settings.prefix, PackedModel):
        extra, tokens = (recorder.extra_sequences, recorder.tokens) if recorder else ([], [])
        before = [prompt[:-1] for prompt in prompts]
        prefix, cache, logits = prefill.read_packed(settings.prefix, before, prefix_length, extra, tokens)
        if recorder is not None:
            recorder.record_extra(logits)
        mask = mask[:, prefix_length:]
        more = {"output_hidden_states": recorder is not None, "prefix": prefix}
    else:
        cache = copy.deepcopy(settings.prefix)
        if cache is not None:
            cache.batch_repeat_interleave(len(prompts))
        if input_ids.shape[1] > 1:
            cache = settings.model.get_decoder()(
                input_ids=input_ids[:, :-1], attention_mask=mask[:, :-1], position_ids=position_ids[:, :-1],
                past_key_values=cache, use_cache=True,
            ).past_key_values  # fmt: skip
    return _Batch(list(range(len(prompts))), input_ids[:, -1:], position_ids[:, -1:], mask, cache, more)


class _BatchRecorder:
    """The `LogitsRecorder` of one batch: `rows[i]` is the number of its i-th prompt among all."""

    def __init__(self, recorder: LogitsRecorder, rows: Sequence[int]) -> None:
        self.recorder, self.rows, self.tokens = recorder, list(rows), recorder.tokens
        self.extra_sequences = [recorder.extra_sequences[row] for row in rows]
        recorder.step_logits |= {row: [] for row in rows}  # a batch that ran out of memory begins anew

    def record_extra(self, logits: np.ndarray) -> None:
        """Take the logits (prompts, tokens) behind the extra sequences."""
        self.recorder.extra_logits |= dict(zip(self.rows, logits, strict=True))

    def record(self, head: output_head.Head | None, out: Any, rows: list[int], unfinished: set[int]) -> None:
        """Take the logits of the unfinished rows from a model's output; without a head, those that the model gives."""
        states = out.hidden_states[-1][:, -1]  # (rows, width)
        tokens = torch.tensor(self.tokens, device=states.device)
        if head is None:
            found = out.logits[:, -1].index_select(1, tokens).float()
        else:
            positions = torch.arange(len(rows), device=states.device).repeat_interleave(len(tokens))  # (rows * tokens,)
            found = output_head.logits(states, head, positions, tokens.repeat(len(rows)))
        for row, logits in zip(rows, found.view(len(rows), -1).cpu().numpy(), strict=True):
            if row in unfinished:
                self.recorder.step_logits[self.rows[row]].append(logits)


def _continuous_batching(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], eos_token_id: int, max_new_tokens: int, progress: bool
) -> list[list[int]]:
    """Transformers' continuous batching; its attention is torch's own for the time being."""
    from transformers import GenerationConfig

    attention = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=eos_token_id, pad_token_id=eos_token_id
    )
    try:
        found = model.generate_batch([list(p) for p in prompts], generation_config=config, progress_bar=progress)
    finally:
        model.set_attn_implementation(attention)
    outputs = sorted(found.items(), key=lambda item: int(item[0].rsplit("_", 1)[-1]))
    return [_before(eos_token_id, output.generated_tokens) for _, output in outputs]


def _common_prefix_length(model: PreTrainedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> int:
    """Tokens that all prompts share; none where padding behind them would move the window of a sliding layer."""
    if len(prompts) < 2:
        return 0
    longest = max(map(len, prompts)) + max_new_tokens
    if (window := _window(model)) is not None and longest > window:
        return 0
    if (angles := rope.length_limit(model)) is not None and longest > angles:
        return 0  # the keys of a long prompt are turned otherwise than those of a short one
    ordered = sorted(map(list, prompts))
    first, last = ordered[0], ordered[-1]
    limit = min(map(len, prompts)) - 1
    return next((i for i in range(limit) if first[i] != last[i]), limit)


def _window(model: PreTrainedModel) -> int | None:
    """Tokens that the layers with a window see; None where no layer has one."""
    config = model.config.get_text_config()
    types = getattr(config, "layer_types", None)  # Mistral, Phi-3 and StarCoder2 have a window in all layers without it
    sliding = "sliding_attention" in types if types else getattr(config, "use_sliding_window", True)
    return (getattr(config, "sliding_window", None) or None) if sliding else None


def _unpadded(rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """The rows in runs of prompts of one length, in their order."""
    return [list(same) for _, same in itertools.groupby(rows, key=lambda row: len(prompts[row]))]


def _before(token: int, answer: list[int]) -> list[int]:
    return answer[: answer.index(token)] if token in answer else answer
