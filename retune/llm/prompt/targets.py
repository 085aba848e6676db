"""What an LLM shall write for a row: its thoughts in a `<think>` block, the answer, the reason; and reading that back.

Token by token: `<think>`, line break, reasoning, line break, `</think>`, empty line (only of a model that thinks; a row
without reasoning has an empty block); the answer; the prompt's `reason` text and the row's reason (only of rows that
have one); end of turn. Tags are encoded by the base's whole tokenizer, texts of rows by the one without control
tokens, and a closing tag inside a row's reasoning is written `</ think>`: no row ends its own thoughts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from retune.data import written_answers
from retune.llm.prompt.prompt import CLOSE, OPEN

if TYPE_CHECKING:
    from retune.llm.prompt.prompt import ChatPrompt

TAGGED = re.compile(r"<label>(.*?)</label>", re.DOTALL)
"""An answer between tags, as some systems ask for it."""


@dataclass(frozen=True)
class Targets:
    """What follows each prompt; which rows lost some of their reasoning or reason."""

    ids: list[list[int]]  # token ids, the end of the turn included
    answers: list[slice]  # where among them the answer stands
    truncated: list[bool]

    def weights(self, answer: float) -> list[list[float]]:
        """Of each token in the loss: `answer` for those of the answer, 1 for all others."""
        weights = [[1.0] * len(ids) for ids in self.ids]
        for row, place in zip(weights, self.answers, strict=True):
            row[place] = [answer] * (place.stop - place.start)
        return weights


@dataclass(frozen=True)
class ParsedText:
    """What a written text holds; `code` is the place of its answer among the labels, None where it gives none."""

    reasoning: str
    code: int | None
    reason: str | None


def target_text(row: Mapping[str, Any], template: Mapping[str, Any], thinking: bool) -> str:
    """The text that `encode` gives the tokens of, without the end of the turn; the row has `label` or `score`."""
    label = str(row["label"] if "label" in row else row["score"])
    block = f"{OPEN}\n{_thoughts(row.get('reasoning'))}\n{CLOSE}\n\n" if thinking else ""
    separator, reason = template.get("reason") or "", _stripped(row.get("reason"))
    return block + str(template["answers"][label]) + (separator + reason if separator and reason else "")


def encode(chat: ChatPrompt, rows: pl.DataFrame, codes: Sequence[int], prompts: Sequence[Sequence[int]]) -> Targets:
    """Targets of the rows with these labels (places in `chat.labels`) behind their prompts.

    What makes prompt and target longer than `chat.max_length` is truncated at the end of the reasoning, and at the end
    of the reason where that takes more than half of their room; the answer is never truncated.
    """
    thoughts = _column(rows, "reasoning", _thoughts) if chat.think else [""] * len(rows)
    reasons = _column(rows, "reason", _stripped) if chat.reason else [""] * len(rows)
    encoded = [
        [one.ids for one in chat.text_tokenizer.encode_batch(texts, add_special_tokens=False)]
        for texts in (thoughts, reasons)
    ]
    ids, answer_slices, truncated = [], [], []
    for prompt, code, thought, reason in zip(prompts, codes, *encoded, strict=True):
        fixed = [chat.think.empty if not thought else [*chat.think.open, *chat.think.close]] if chat.think else []
        fixed += [chat.answers[code], chat.reason if reason else [], [chat.end]]
        free = chat.max_length - len(prompt) - sum(map(len, fixed))
        reason_length = min(len(reason), max(free // 2, free - len(thought), 0))
        thought_length = max(min(len(thought), free - reason_length), 0)
        truncated.append(reason_length < len(reason) or thought_length < len(thought))
        thinking, answer = think_block(chat, thought[:thought_length]), chat.answers[code]
        answer_slices.append(slice(len(thinking), len(thinking) + len(answer)))
        separator = chat.reason if reason_length else []
        ids.append([*thinking, *answer, *separator, *reason[:reason_length], chat.end])
    return Targets(ids, answer_slices, truncated)


def think_block(chat: ChatPrompt, thoughts: Sequence[int]) -> list[int]:
    """Token ids of the whole block of thoughts; nothing for a model that does not think."""
    if chat.think is None:
        return []
    return [*chat.think.open, *thoughts, *chat.think.close] if thoughts else list(chat.think.empty)


def parse(text: str, answers: Sequence[str], reason: str | None = None, thinking: bool = True) -> ParsedText:
    """Read a written text back; `answers` are in the order of the labels, `reason` is the template's text before it.

    With `thinking` the answer is looked for behind the closing tag alone, and a text without one gives none. The answer
    may stand in `<label>` tags; else it is read from the first line, or from all that stands before `reason`.
    """
    thoughts, closed, rest = text.partition(CLOSE) if thinking else ("", CLOSE, text)
    thoughts = thoughts.strip().removeprefix(OPEN).strip()
    if not closed:
        return ParsedText(thoughts, None, None)
    rest = rest.strip()
    separator = (reason or "").strip()
    answer, _, why = rest.partition(separator) if separator else (rest, "", "")
    tagged = TAGGED.findall(answer)
    first = tagged[-1] if tagged else answer.strip().partition("\n")[0]
    code = written_answers.read(first, answers)
    return ParsedText(thoughts, written_answers.read(answer, answers) if code is None else code, why.strip() or None)


def _column(rows: pl.DataFrame, name: str, clean: Any) -> list[str]:
    return [clean(text) for text in rows[name]] if name in rows.columns else [""] * len(rows)


def _thoughts(text: str | None) -> str:
    return _stripped(text).replace(CLOSE, "</ think>")


def _stripped(text: str | None) -> str:
    return (text or "").strip()
