"""The rows of the speed benchmark, as token ids that every tool gets alike.

- `intent`: the instruction with all 34 labels before each utterance, the label's name as the answer.
- `pairs`: about 60 tokens of plain text, no two rows of a batch begin with the same token, the answer is 是 or 否.
- `reasoning`: six questions behind each document; some 60 tokens of reasoning and a score as the answer.

All texts are generated (utterances.py, companies.yaml); the same count and seed always give the same rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import utterances
import yaml

from retune.encoders import tokens
from retune.llm.prompt import prompt
from retune.llm.prompt.prompt import ChatPrompt

HERE = Path(__file__).parent
ROOM = 4096
"""More tokens than any row has: nothing is cut."""
CALLERS = tuple(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金"
    "石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严武戴莫孔向汤"
)
"""Family names; the first token of a row of `pairs`."""


@dataclass(frozen=True)
class Row:
    """One example: its texts, and the token ids of prompt and answer, the latter with the end of turn."""

    system: str | None
    user: str
    answer: str
    prompt_ids: list[int]
    answer_ids: list[int]

    def to_dict(self) -> dict[str, Any]:
        """For a line of JSON."""
        return asdict(self)


def build(workload: str, base: Path, count: int, seed: int) -> list[Row]:
    """`count` rows of a workload for the tokenizer of `base`, in the order of the training."""
    return WORKLOADS[workload](base, count, seed)


def intent_chat(base: Path) -> ChatPrompt:
    """The intent prompt behind the chat template of `base`."""
    return prompt.prepare(
        tokens.tokenizer_of(base), _intent_template(), ("text",), tuple(_intent_template()["answers"]), ROOM
    )


def _intent_template() -> dict[str, Any]:
    template: dict[str, Any] = yaml.safe_load((HERE / "intent.yaml").read_text(encoding="utf-8"))
    return template


def _intent(base: Path, count: int, seed: int) -> list[Row]:
    template, chat = _intent_template(), intent_chat(base)
    drawn = utterances.generate(count, seed)
    encoded = prompt.encode(chat, pl.DataFrame({"text": [text for _, text in drawn]}))
    return [
        Row(
            template["system"],
            text,
            template["answers"][label],
            ids,
            [*chat.answers[chat.labels.index(label)], chat.end],
        )
        for (label, text), ids in zip(drawn, encoded.ids, strict=True)
    ]


def _pairs(base: Path, count: int, seed: int) -> list[Row]:
    chat = intent_chat(base)
    drawn = utterances.generate(2 * count, seed)
    callers = _distinct_callers(chat)
    chance = random.Random(seed)
    rows = []
    for index, (label, first) in enumerate(drawn[:count]):
        same = index % 2 == 1
        second = chance.choice([text for other, text in drawn[count:] if (other == label) is same] or [first])
        said = f"{callers[index % len(callers)]}：{first}。\n另一位：{second}。"
        user = f"{said}\n两位客户打电话来说的是不是同一件事？请回答是或否。答："
        answer = "是" if same else "否"
        rows.append(Row(None, user, answer, _ids(chat, user), [*_ids(chat, answer), chat.end]))
    return rows


def _distinct_callers(chat: ChatPrompt) -> list[str]:
    """Callers whose lines begin with different tokens."""
    first = {_ids(chat, f"{caller}：")[0]: caller for caller in reversed(CALLERS)}
    return list(first.values())[::-1]


def _reasoning(base: Path, count: int, seed: int) -> list[Row]:
    table: dict[str, Any] = yaml.safe_load((HERE / "companies.yaml").read_text(encoding="utf-8"))
    template = {"system": table["system"], "user": "{text}", "answers": {"0": "0", "1": "1"}}
    chat = prompt.prepare(tokens.tokenizer_of(base), template, ("text",), tuple(template["answers"]), ROOM)
    chance = random.Random(seed)
    asked: list[tuple[str, str]] = []
    while len(asked) < count:
        asked += _questions(table, chance)
    encoded = prompt.encode(chat, pl.DataFrame({"text": [user for user, _ in asked[:count]]}))
    return [
        Row(table["system"], user, answer, ids, [*_ids(chat, answer), chat.end])
        for (user, answer), ids in zip(asked, encoded.ids, strict=False)
    ]


def _questions(table: dict[str, Any], chance: random.Random) -> list[tuple[str, str]]:
    """Question and answer of every dimension behind one document, whose facts all of them share."""
    facts = {slot: chance.choice(values) for slot, values in table["slots"].items()}
    document = "".join(table["profile"]).format(**facts)
    return [
        (
            f"企业资料：{document}\n分析维度：{dimension}",
            f"{reason.format(**facts)}\n评分：{chance.randint(1, 10)}",
        )
        for dimension, reason in table["dimensions"].items()
    ]


def _ids(chat: ChatPrompt, text: str) -> list[int]:
    ids: list[int] = chat.text_tokenizer.encode(text, add_special_tokens=False).ids
    return ids


WORKLOADS: dict[str, Callable[[Path, int, int], list[Row]]] = {
    "intent": _intent,
    "pairs": _pairs,
    "reasoning": _reasoning,
}
