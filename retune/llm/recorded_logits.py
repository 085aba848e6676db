"""Logits of some tokens that generation computes on the way, for those who would else run the model once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from retune.llm.packing import output_head


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


class BatchRecorder:
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
