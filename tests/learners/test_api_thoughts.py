"""The learner `api` in front of a reasoning model: only what stands behind the thoughts is its answer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from retune.data import written_answers
from retune.learners.api import predict as api
from retune.params import loads
from retune.pipeline.schema.params import Api
from retune.sources import chat_api
from tests.support.chat_server import KEY, ScriptedServer
from tests.support.llm_fit import PROMPT, rows

THOUGHTS = "好的，先比较两句。乍一看是同一个问题，再看是否问法不同。"
ANSWERS = {"0": "否", "1": "是"}
FIRST = {"好的": 0.55, "嗯": 0.25, "首先": 0.12, "否": 0.05, "是": 0.01}


class ThinkingServer(ScriptedServer):
    """Always right, thoughts first, log-probabilities of all tokens; `parser` takes the thoughts out of the content."""

    def __init__(self, wanted: dict[str, str], logprobs: bool, parser: bool, tags: tuple[str, str]) -> None:
        super().__init__(lambda _: "")
        self.wanted, self.logprobs, self.parser, self.tags = wanted, logprobs, parser, tags
        self.closes = True

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self.wanted[request["messages"][-1]["content"]]
        other = next(one for one in ANSWERS.values() if one != answer)
        tokens = [(piece, {piece: 0.99}) for piece in (self.tags[0],) if piece] + [("好的", FIRST)]
        tokens += [(piece, {piece: 0.99}) for piece in (THOUGHTS[2:], *([self.tags[1], "\n\n"] if self.closes else []))]
        tokens += [(answer, {answer: 0.98, other: 0.02})] if self.closes else []
        text = "".join(piece for piece, _ in tokens)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self.parser:
            message |= {"content": answer, "reasoning_content": THOUGHTS}
        spelled = [
            {
                **_token(piece, top[piece]),
                "top_logprobs": [_token(candidate, chance) for candidate, chance in top.items()],
            }
            for piece, top in tokens
        ]
        choice = {"index": 0, "finish_reason": "stop" if self.closes else "length", "message": message}
        choice["logprobs"] = {"content": spelled} if self.logprobs and request.get("logprobs") else None
        usage = {"prompt_tokens": 9, "completion_tokens": 40, "total_tokens": 49}
        return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def _token(text: str, chance: float) -> dict[str, Any]:
    return {"token": text, "bytes": list(text.encode()), "logprob": math.log(chance)}


def predict(server: ThinkingServer, frame: pl.DataFrame) -> pl.DataFrame:
    section = Api.model_validate({"url": server.url, "model": "m", "max_tokens": 512}).model_dump()
    spec = {"kind": "pair", "labels": ["0", "1"], "api": section, "prompt": PROMPT | {"answers": ANSWERS}}
    return api.PromptedEndpoint(loads(json.dumps(spec))).predict(frame)


def wanted(frame: pl.DataFrame) -> dict[str, str]:
    shown = {f"{PROMPT['user']}".format(**row): str(row["label"]) for row in frame.iter_rows(named=True)}
    return {text: ANSWERS[label] for text, label in shown.items()}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETUNE_API_KEY", KEY)


THINK, OTHER = "</think>", "[/THINK]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("logprobs", "parser", "tags"),
    [
        (*how, tags)
        for how in ((False, False), (True, False), (True, True))
        for tags in (("", THINK), ("<think>", THINK))
    ]
    + [(True, True, ("", OTHER))],  # other tags are known by what a parser took out
)
def test_an_endpoint_that_is_always_right_is_read_as_right(logprobs: bool, parser: bool, tags: tuple[str, str]) -> None:
    frame = rows(12)
    with ThinkingServer(wanted(frame), logprobs, parser, tags) as server:
        found = predict(server, frame)
    assert found["label"].to_list() == [str(label) for label in frame["label"]]
    right = [row[f"prob_{row['label']}"] for row in found.iter_rows(named=True)]
    assert right == pytest.approx([0.98 if logprobs else 1.0] * len(frame))


def test_thoughts_that_max_tokens_cut_are_no_answer_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    frame = rows(4)
    with ThinkingServer(wanted(frame), True, False, ("", "</think>")) as server:
        server.closes = False
        found = predict(server, frame)
    assert found["label"].null_count() == len(frame)
    assert "4 of 4 answers name no label; they count as wrong; api.max_tokens (512) cut 4" in caplog.text


def test_a_kept_answer_whose_first_token_was_that_of_the_thoughts_is_asked_again() -> None:
    frame = rows(4)
    with ThinkingServer(wanted(frame), True, False, ("", "</think>")) as server:
        predict(server, frame)
        asked = len(server.requests)
        for file in chat_api.folder().rglob("*.json"):
            kept = json.loads(file.read_text())
            del kept["cut"]
            file.write_text(json.dumps(kept))
        predict(server, frame)
        assert len(server.requests) == 2 * asked
        predict(server, frame)
        assert len(server.requests) == 2 * asked


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("先想，是？\n</think>\n\n否", 0),
        ("<think>是</think>是</think>否", 0),
        ("是 <think>还没想完", 1),
        ("想</think>", None),
    ],
)
def test_what_stands_behind_the_last_closing_tag_counts(text: str, code: int | None) -> None:
    assert written_answers.read(text, ["否", "是"]) == code
