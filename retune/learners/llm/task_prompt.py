"""The task's prompt as a base's chat template shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retune.data import kinds
from retune.encoders import tokens
from retune.llm.prompt import prompt

if TYPE_CHECKING:
    from retune.llm.prompt.prompt import ChatPrompt
    from retune.params import Params


def prepare(spec: Params, base: Path) -> ChatPrompt:
    """The task's prompt for this base, its answers in the order of the task's labels."""
    texts, options = kinds.of(spec.kind).TEXTS, spec.training
    tokenizer = tokens.tokenizer_of(base)
    return prompt.prepare(
        tokenizer,
        spec.prompt,
        texts,
        spec.labels,
        options.max_length,
        options.truncation,
        options.get("thinking", False),
    )
