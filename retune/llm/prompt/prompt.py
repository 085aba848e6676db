"""The one place that turns a row into what an LLM reads: chat prompt token ids, and the token ids of each answer.

Training, prediction and serving all call `prepare` once and `encode` per table, so they cannot differ.

A template (prompts/NAME.yaml) is `{system, user, answers}` (see retune.llm.prompt.template). The chat template of the
base's tokenizer puts the turns around it. Only that one may write control tokens: instructions, data and answers are
encoded by a copy of the tokenizer without added tokens, so `<|im_end|>` inside a sentence is seven ordinary pieces of
text and ends no turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from jinja2 import TemplateError
from tokenizers import Tokenizer

from retune.errors import RetuneError
from retune.llm.prompt import template as texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPEN, CLOSE = "<think>", "</think>"
"""The tags around what a model thinks before it answers, as Qwen3, DeepSeek-R1 and others write them."""
RESERVE_DIVISOR = 4
"""A quarter of `max_length` is kept free for reasoning and reason, however long the texts of the prompt are."""

SYSTEM, USER, ANSWER = "\ue000system\ue001", "\ue000user\ue001", "\ue000answer\ue001"
"""Stand-ins for the three texts while the chat template is rendered; private-use characters, never encoded."""
FIXED_DATE = "{% macro strftime_now(format) %}1 January 2025{% endmacro %}"


@dataclass(frozen=True)
class Think:
    """Token ids around the thoughts of a model that thinks before it answers."""

    open: list[int]  # <think> and a line break
    close: list[int]  # a line break, </think> and an empty line
    empty: list[int]  # both, with no thought between


@dataclass(frozen=True)
class ChatPrompt:
    """A template made ready for one tokenizer; see `prepare`."""

    text_tokenizer: Tokenizer  # encodes text only: knows no control token
    tokenizer: Tokenizer  # the base's own, control tokens and tags included: decodes what a model writes
    head: list[int]  # token ids before the user's text: start, system turn, opening of the user turn
    user: str
    tail: list[int]  # token ids after it: end of the user turn, opening of the assistant turn
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    answers: tuple[list[int], ...]  # token ids of each label's answer, without `end`
    reason: list[int]  # token ids of the text between an answer and its reason; empty: the answer stands alone
    think: Think | None  # None: the answer follows the prompt at once
    end: int  # the token that ends the assistant turn
    max_length: int
    truncation: str
    values: Mapping[str, Mapping[str, str]]  # column -> value -> the text that is shown for it

    @property
    def after_answer(self) -> int:
        """The token behind a complete answer: the first one of the reason's text, or the end of the turn."""
        return self.reason[0] if self.reason else self.end


@dataclass(frozen=True)
class Prompts:
    """Rows as the LLM reads them: token ids up to and with the opening of the assistant turn; which were truncated."""

    ids: list[list[int]]
    truncated: list[bool]


def prepare(
    tokenizer: PreTrainedTokenizerBase,
    template: Mapping[str, Any],
    fields: Sequence[str],
    labels: Sequence[str],
    max_length: int,
    truncation: str = "end",
    thinking: bool = False,
) -> ChatPrompt:
    """Render the chat template once around `template` and encode everything that no row changes.

    `fields` are the columns that a prompt may show, `labels` those that it answers, in their order; `{labels}` in
    `system` becomes one line for each: its answer, and the label where that is another text. `max_length` bounds
    prompt + target, in tokens; of what is longer, `truncation` leaves out the `middle` or the `end`. With `thinking`
    the prompt ends where the model begins to think (retune.llm.prompt.targets).

    Raises `RetuneError`: no chat template in the base; instructions alone longer than `max_length`; a column of the
    task that the prompt never shows; answers that the tokenizer cannot tell apart.
    """
    shown = {name for name in texts.PLACEHOLDER.findall(template["user"]) if name in fields}
    if missing := [name for name in fields if name not in shown]:
        raise RetuneError(f"the prompt's `user` never shows {{{missing[0]}}}; add it, the answer depends on it")
    text_tokenizer = _without_added_tokens(tokenizer)
    system = texts.system(template, labels)
    before, between, after, end = _frame(tokenizer, system, thinking)

    def literal(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False) if text else []

    def text_ids(text: str) -> list[int]:
        return text_tokenizer.encode(text, add_special_tokens=False).ids

    head = literal(before)
    if system:
        head += text_ids(system) + literal(between)
    answers = tuple(text_ids(str(template["answers"][label])) for label in labels)
    if not all(answers) or len({tuple(ids) for ids in answers}) < len(answers):
        raise RetuneError(f"the prompt's answers {dict(template['answers'])} must be different, non-empty texts")
    tags = Think(*map(literal, (f"{OPEN}\n", f"\n{CLOSE}\n\n", f"{OPEN}\n\n{CLOSE}\n\n"))) if thinking else None
    chat = ChatPrompt(
        text_tokenizer=text_tokenizer,
        tokenizer=tokenizer.backend_tokenizer,
        head=head,
        user=template["user"],
        tail=literal(after),
        fields=tuple(fields),
        labels=tuple(labels),
        answers=answers,
        reason=text_ids(template.get("reason") or ""),
        think=tags,
        end=end,
        max_length=int(max_length),
        truncation=truncation,
        values=template.get("values") or {},
    )
    if (least := len(_ids(chat, dict.fromkeys(fields, ""))) + _reserve(chat)) >= max_length:
        raise RetuneError(
            f"the prompt's instructions take {least} tokens without any text, training.max_length is {max_length}: "
            "shorten the prompt or raise it"
        )
    return chat


def encode(chat: ChatPrompt, rows: pl.DataFrame) -> Prompts:
    """Token ids of every row's prompt, in row order; texts that do not fit are truncated, longest first."""
    records = [texts.display_values(row, chat.values) for row in rows.select(chat.fields).iter_rows(named=True)]
    contents = chat.text_tokenizer.encode_batch(
        [texts.user(chat.user, row) for row in records], add_special_tokens=False
    )
    ids = [chat.head + content.ids + chat.tail for content in contents]
    truncated = [len(prompt) > chat.max_length - _reserve(chat) for prompt in ids]
    for index, is_truncated in enumerate(truncated):
        if is_truncated:
            ids[index] = _truncate(chat, records[index])
    return Prompts(ids, truncated)


def _reserve(chat: ChatPrompt) -> int:
    """Tokens kept free behind the prompt: the longest answer, the end of the turn, and room to think and to reason."""
    tags = len(chat.think.open) + len(chat.think.close) if chat.think else 0
    room = chat.max_length // RESERVE_DIVISOR if chat.think or chat.reason else 0
    return max(map(len, chat.answers)) + len(chat.reason) + 1 + tags + room


def _ids(chat: ChatPrompt, row: Mapping[str, str]) -> list[int]:
    return chat.head + chat.text_tokenizer.encode(texts.user(chat.user, row), add_special_tokens=False).ids + chat.tail


def _truncate(chat: ChatPrompt, row: Mapping[str, str]) -> list[int]:
    """The row's prompt within the limit: every field is truncated to the same number of tokens, shorter ones stay."""
    pieces = {name: chat.text_tokenizer.encode(row[name], add_special_tokens=False) for name in chat.fields}
    length = max(len(piece.ids) for piece in pieces.values())
    while True:
        short = {name: _shortened(row[name], piece, length, chat.truncation) for name, piece in pieces.items()}
        ids = _ids(chat, short)
        excess = len(ids) + _reserve(chat) - chat.max_length
        if excess <= 0 or length == 0:
            return ids
        length -= max(1, min(excess // len(pieces), length))


def _shortened(text: str, piece: Any, length: int, truncation: str) -> str:
    """The text without what lies beyond `length` of its tokens, at its end or in its middle."""
    if len(piece.ids) <= length:
        return text
    last = length // 2 if truncation == "middle" else 0
    first = length - last
    head = text[: piece.offsets[first - 1][1]] if first else ""
    return head + (text[piece.offsets[-last][0] :] if last else "")


def _frame(tokenizer: PreTrainedTokenizerBase, system: str | None, thinking: bool) -> tuple[str, str, str, int]:
    """The chat template's own text: before the system text, between it and the user's, after it; the end-of-turn id.

    An opening tag that a template writes itself, for a model that always thinks, is left to retune.llm.prompt.targets,
    and closed at once where the model shall not think.
    """
    if not tokenizer.chat_template:
        raise RetuneError(
            f"the tokenizer of `{tokenizer.name_or_path}` has no chat template: give its catalog entry a "
            "`chat_template`"
        )
    turns = [{"role": "system", "content": SYSTEM}] if system else []
    rendered = _render(tokenizer, turns, USER, thinking=thinking)
    if rendered is None or (system and SYSTEM not in rendered):  # a template without a system role
        rendered = _render(tokenizer, [], f"{SYSTEM}\n\n{USER}" if system else USER, thinking=thinking)
    if rendered is None or USER not in rendered:
        raise RetuneError(f"the chat template of `{tokenizer.name_or_path}` does not show the user's text")
    for text, what in ((USER, "user's text"), (SYSTEM, "system text")):
        if (times := rendered.count(text)) > 1:
            raise RetuneError(
                f"the chat template of `{tokenizer.name_or_path}` shows the {what} {times} times: give its catalog "
                "entry another `chat_template`"
            )
    before, after = rendered.split(USER)
    if after.rstrip().endswith(OPEN):
        after = after.rstrip().removesuffix(OPEN)
        if not thinking:  # else labels would be learnt and scored inside of the thoughts
            after += f"{OPEN}\n\n{CLOSE}\n\n"
    before, _, between = before.partition(SYSTEM) if system else (before, "", "")
    closed = _render(tokenizer, [], USER, ANSWER)
    closing = closed.split(ANSWER)[-1] if closed and ANSWER in closed else ""
    ids = tokenizer.encode(closing, add_special_tokens=False) if closing else []
    special = [token for token in ids if token in set(tokenizer.added_tokens_decoder)]
    end = special[0] if special else tokenizer.eos_token_id
    if end is None:
        raise RetuneError(f"the tokenizer of `{tokenizer.name_or_path}` has no token that ends a turn")
    return before, between, after, int(end)


def _render(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], user: str, answer: str = "", thinking: bool = False
) -> str | None:
    """The chat as text, None where the template refuses these turns.

    Thinking is switched on or off where a template knows it, and a template that prints today's date gets a fixed one:
    the same row must give the same tokens every day.
    """
    turns = [*turns, {"role": "user", "content": user}]
    if answer:
        turns = [*turns, {"role": "assistant", "content": answer}]
    try:
        return str(
            tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=not answer,
                enable_thinking=thinking,
                chat_template=FIXED_DATE + tokenizer.get_chat_template(),
                date_string="1 January 2025",
            )
        )
    except TemplateError:
        return None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RetuneError(
            f"the chat template of `{tokenizer.name_or_path}` can't be used ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}): give its catalog entry a `chat_template`"
        ) from None


def _without_added_tokens(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The fast tokenizer as it reads any text as text: no control token matches, white space runs still do.

    Raises `RetuneError` where the vocabulary itself spells out a control token, so that text could still become one,
    and where white space runs would get other ids, since they stand behind other tokens that were added.
    """
    whole = tokenizer.backend_tokenizer
    plain = Tokenizer(whole.model)  # shares its vocabulary
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if (own := getattr(whole, part)) is not None:
            setattr(plain, part, own)
    added = dict(sorted(whole.get_added_tokens_decoder().items()))
    spaces = {number: token for number, token in added.items() if token.content.isspace() and not token.special}
    plain.add_tokens(list(spaces.values()))
    if moved := [token.content for number, token in spaces.items() if plain.token_to_id(token.content) != number]:
        raise RetuneError(
            f"the tokenizer of `{tokenizer.name_or_path}` adds the white space {moved[0]!r} behind other tokens, so it "
            "cannot be kept without them; use another base"
        )
    control = {number: token.content for number, token in added.items() if token.special}
    for content in control.values():
        if forged := control.keys() & set(plain.encode(content, add_special_tokens=False).ids):
            raise RetuneError(
                f"the tokenizer of `{tokenizer.name_or_path}` reads the text {content!r} as control token "
                f"{control[min(forged)]!r}, so a data row could end its own turn; use another base"
            )
    return plain
