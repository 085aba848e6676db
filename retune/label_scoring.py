"""Exact probabilities of every label's answer, read from the LLM in one pass instead of generated and parsed.

For a prompt x and a label whose answer has the tokens a1..an: log P(label | x) = sum_i log p(a_i | x, a1..a_{i-1}),
with p the LLM's softmax over its whole vocabulary; then normalised over the labels. Where one answer begins another
(是, 是的) the end-of-turn token counts as the last token of each, so that both are complete answers.

What makes it fast changes no value but by rounding: logits only at the positions that are read (`logits_at`), rows
sorted by length, and labels whose answers differ in the last token only read from one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from retune.packing import logits_at
from retune.progress import bar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_TOKENS = 1024
"""Tokens of one pass; more buys nothing on a CPU, where attention over the packed row grows with its square."""


def label_log_probs(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    end: int,
    batch_tokens: int = BATCH_TOKENS,
    progress: bool = False,
) -> np.ndarray:
    """Give log P(label | prompt), normalised over the labels: float64 (rows, labels), row order kept.

    `prompts` and `answers` are token ids, `end` is the end-of-turn token. The model's mode (eval) is the caller's.
    """
    answers = complete(answers, end)
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    scores = np.zeros((len(prompts), len(answers)))
    with torch.inference_mode(), bar(total=len(prompts), desc="scoring", unit="row", disable=not progress) as done:
        for rows in _batches(order, prompts, batch_tokens):
            scores[rows] = _read(model, [prompts[row] for row in rows], answers)
            done.update(len(rows))
    return np.asarray(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))


def complete(answers: Sequence[Sequence[int]], end: int) -> list[list[int]]:
    """The answers, each with the end-of-turn token where one of them begins another."""
    begins = any(a is not b and list(b[: len(a)]) == list(a) for a in answers for b in answers)
    return [[*answer, end] if begins else list(answer) for answer in answers]


def _batches(order: list[int], prompts: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers of one batch after the other, as many as fit `batch_tokens`."""
    batch: list[int] = []
    tokens = 0
    for row in order:
        if batch and tokens + len(prompts[row]) > batch_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += len(prompts[row])
    if batch:
        yield batch


def _read(model: PreTrainedModel, prompts: list[Sequence[int]], answers: list[list[int]]) -> np.ndarray:
    """Give log P(answer | prompt) of one batch: float64 (prompts, answers).

    Answers that differ in their last token only share a pass: one for all labels where each is a single token.
    """
    columns: dict[int, np.ndarray] = {}
    for fed in dict.fromkeys(tuple(answer[:-1]) for answer in answers):
        rows = [[*prompt, *fed] for prompt in prompts]
        positions = [range(len(prompt) - 1, len(prompt) + len(fed)) for prompt in prompts]
        logs = logits_at(model, rows, positions).double().log_softmax(-1).view(len(rows), len(fed) + 1, -1)
        for index, answer in enumerate(answers):
            if tuple(answer[:-1]) == fed:
                steps = torch.arange(len(answer), device=logs.device)
                columns[index] = logs[:, steps, answer].sum(1).cpu().numpy()
    return np.stack([columns[index] for index in range(len(answers))], axis=1)
