"""Exact probabilities of every label's answer, read from the LLM instead of generated and parsed.

For a prompt x and a label whose answer has the tokens a1..an: log P(label | x) = sum_i log p(a_i | x, a1..a_{i-1}),
with p the LLM's softmax over its whole vocabulary; then normalised over the labels. Where one answer begins another
(是, 是的; 1, 10) the token that follows a complete answer counts as the last token of each: the end of the turn, or the
first one of the text between an answer and its reason.

The answers stand as a tree of branches behind each text, and many texts behind the instructions that they share, in one
packed row (retune.packing): every distinct history is computed once, whatever the number of labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from retune import memory
from retune.packing import Packing, Triplet
from retune.progress import bar


def label_log_probs(
    packing: Packing,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    end: int,
    batch_tokens: int | None = None,
    progress: bool = False,
    per_token: bool = False,
) -> np.ndarray:
    """Give log P(label | prompt), normalised over the labels: float64 (rows, labels), row order kept.

    `prompts` and `answers` are token ids, `end` is the token behind a complete answer; `batch_tokens` a pass, or as
    many as `packing.limit` says, which learns from a lack of memory. With `per_token` an answer counts by the mean of
    its tokens' log-probabilities instead of their sum. The model's mode (eval) is the caller's.
    """
    answers = complete(answers, end)
    scores = np.zeros((len(prompts), len(answers)))
    order = sorted(range(len(prompts)), key=lambda row: (tuple(prompts[row]), row))
    limit = packing.limit if batch_tokens is None else memory.Limit(batch_tokens, "tokens", "label scoring")
    longest = max(map(len, prompts), default=0) + max(map(len, answers))

    def read(rows: Sequence[int]) -> np.ndarray:
        return _read(packing, [prompts[row] for row in rows], answers, max(limit.size, longest))

    def within(start: int, size: int) -> int:
        return _count((prompts[order[place]] for place in range(start, len(order))), answers, size)

    with torch.inference_mode(), bar(total=len(prompts), desc="scoring", unit="row", disable=not progress) as done:
        for rows, found in memory.in_batches(order, limit, read, within):
            scores[rows] = found
            done.update(len(rows))
    if per_token:
        scores /= np.array([len(answer) for answer in answers])
    return np.asarray(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))


def complete(answers: Sequence[Sequence[int]], end: int) -> list[list[int]]:
    """The answers, each with the token that follows it where one of them begins another."""
    begins = any(a is not b and list(b[: len(a)]) == list(a) for a in answers for b in answers)
    return [[*answer, end] if begins else list(answer) for answer in answers]


def _count(prompts: Iterable[Sequence[int]], answers: list[list[int]], size: int) -> int:
    """How many prompts, each by what it adds to the one before, and their labels make a packed row of `size` tokens.

    At least one.
    """
    fed = {tuple(answer[:end]) for answer in answers for end in range(1, len(answer))}
    tokens, count = 0, 0
    last: Sequence[int] = ()
    for prompt in prompts:
        tokens += len(prompt) - _shared(last, prompt) + len(fed)
        if count and tokens > size:
            break
        count, last = count + 1, prompt
    return count


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    limit = min(len(one), len(other))
    return next((i for i in range(limit) if one[i] != other[i]), limit)


def _read(packing: Packing, prompts: list[Sequence[int]], answers: list[list[int]], budget: int) -> np.ndarray:
    """Give log P(answer | prompt) of one batch: float64 (prompts, answers)."""
    sequences = [[*prompt, *answer[:-1]] for prompt in prompts for answer in answers]
    triplets: list[list[Triplet]] = [
        [(len(prompt) - 1 + i, token, 1.0) for i, token in enumerate(answer)]
        for prompt in prompts
        for answer in answers
    ]
    logs = np.zeros(sum(map(len, triplets)))
    for part in packing.parts(sequences, triplets, budget):
        logs[part.order.numpy()] = packing.log_probs(part).numpy()
    starts = np.cumsum([0, *map(len, triplets)])[:-1]
    return np.asarray(np.add.reduceat(logs, starts).reshape(len(prompts), len(answers)))
