"""Answers that a causal LM writes: what prompts share is computed once, and what all begin with is kept once.

Greedy, or sampled with a seed for each row. On a CUDA GPU transformers' continuous batching writes greedy answers (it
shares the blocks of equal prefixes). Else the prompts of a batch are read as packed rows (retune.llm.packing.packing),
and all rows attend to one copy of the keys and values of their common prefix; a model without such attention gets
padded batches of similar length, each row with a copy. Rows leave their batch when they are finished.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from retune.llm.packing import prefill, proof, rope, tree_attention
from retune.llm.packing.packing import PackedModel
from retune.llm.recorded_logits import BatchRecorder, LogitsRecorder
from retune.llm.sampling import Sampler, Sampling, greedy
from retune.progress import bar
from retune.training import out_of_memory
from retune.training.layers import decoder_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("retune")

Chooser = Callable[[torch.Tensor, list[int]], torch.Tensor]
"""The next token of each row, from logits (rows, vocabulary) and the rows' places among those that it was made for."""
Batches = Iterator[tuple[Sequence[int], list[list[int]]]]
"""Rows, and what follows the prompt of each."""
BATCH_SIZE = 16
"""Prompts that are continued together on a processor."""
FINISHED_SHARE = 0.25
"""Share of a batch that is finished when it is made smaller: moving the others' keys and values takes time, too."""


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
    answers: list[list[int]] = [[] for _ in prompts]
    groups, uncached = rope.apart(model, [len(prompt) for prompt in prompts], max_new_tokens)

    def chooser(rows: Sequence[int]) -> Chooser:
        return Sampler(sampling, [keys[row] for row in rows]) if sampling else greedy

    continuous = model.device.type == "cuda" and sampling is None
    with bar(total=len(prompts), desc="generating", unit="row", disable=not progress or continuous) as done:
        for rows in groups:
            chosen = [prompts[row] for row in rows]
            if continuous:
                batches: Batches = iter(
                    [(rows, _continuous_batching(model, chosen, eos_token_id, max_new_tokens, progress))]
                )
            else:
                settings = _settings(model, chosen, eos_token_id, max_new_tokens)
                batches = _in_batches(settings, rows, prompts, chooser, batch_size, recorder)
            for batch, written in batches:
                for row, answer in zip(batch, written, strict=True):
                    answers[row] = answer
                done.update(len(batch))
        if uncached:
            log.warning(
                "%d of %d answers are written without a cache, slowly: with their prompts they cross the %d tokens at "
                "which the model's rotary positions change", len(uncached), len(prompts), rope.length_limit(model),
            )  # fmt: skip
        for row in uncached:
            answers[row] = _write_uncached(model, prompts[row], eos_token_id, max_new_tokens, chooser([row]))
            done.update()
    return answers


def _in_batches(
    settings: _Settings, rows: Sequence[int], prompts: Sequence[Sequence[int]],
    chooser: Callable[[Sequence[int]], Chooser], batch_size: int, recorder: LogitsRecorder | None,
) -> Batches:  # fmt: skip
    """Batches of the rows with what follows the prompt of each; similar rows stand together."""
    packed = isinstance(settings.prefix, PackedModel)
    order = sorted(rows, key=lambda row: tuple(prompts[row]) if packed else (-len(prompts[row]), row))
    # transformers' eager attention gives NaN beside padding at the left where a layer has a window
    pads_wrong = settings.model.config._attn_implementation == "eager" and bool(_window(settings.model))

    def write(rows: Sequence[int]) -> list[list[int]]:
        batch_recorder = BatchRecorder(recorder, rows) if recorder and packed else None
        written: list[list[int]] = []
        for part in _unpadded(rows, prompts) if pads_wrong else [rows]:
            written += _write_batch(settings, [prompts[row] for row in part], chooser(part), batch_recorder)
        return written

    yield from out_of_memory.in_batches(order, out_of_memory.Limit(batch_size, "rows", "generation"), write)


def _write_uncached(
    model: PreTrainedModel, prompt: Sequence[int], eos_token_id: int, max_new_tokens: int, next_tokens: Chooser
) -> list[int]:
    """What follows the prompt, read anew for each token."""
    ids = list(prompt)
    while len(ids) < len(prompt) + max_new_tokens:
        (token,) = next_tokens(proof.own_logits(model, ids)[None], [0]).tolist()
        if token == eos_token_id:
            break
        ids.append(token)
    return ids[len(prompt) :]


@dataclass(frozen=True)
class _Settings:
    """What all batches of a generation have in common."""

    model: PreTrainedModel
    eos_token_id: int
    max_new_tokens: int
    prefix_length: int  # tokens that all prompts begin with
    prefix: Any  # a `PackedModel` that reads prompts as packed rows, or a cache of the prefix to copy; None: no prefix


def _settings(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], eos_token_id: int, max_new_tokens: int
) -> _Settings:
    length = _common_prefix_length(model, prompts, max_new_tokens)
    prefix: Any = None
    if length and model.config._attn_implementation == tree_attention.NAME:
        prefix = PackedModel(model)
    elif length:  # without the output head, whose logits of every token nobody reads
        prefix_ids = torch.tensor([prompts[0][:length]], device=model.device)  # (1, prefix)
        prefix = decoder_of(model)(prefix_ids, use_cache=True).past_key_values
    return _Settings(model, eos_token_id, max_new_tokens, length, prefix)


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
    next_tokens: Chooser,
    recorder: BatchRecorder | None,
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


def _start_batch(settings: _Settings, prompts: list[Sequence[int]], recorder: BatchRecorder | None) -> _Batch:
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
            cache = decoder_of(settings.model)(
                input_ids=input_ids[:, :-1], attention_mask=mask[:, :-1], position_ids=position_ids[:, :-1],
                past_key_values=cache, use_cache=True,
            ).past_key_values  # fmt: skip
    return _Batch(list(range(len(prompts))), input_ids[:, -1:], position_ids[:, -1:], mask, cache, more)


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
        return 0  # the prefix alone would be turned as a short prompt is
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
