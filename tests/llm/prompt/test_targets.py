"""What an LLM shall write for a row, as tokens and as text, and what is read back from a written text."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from retune.llm.packing.packing import PackedModel
from retune.llm.prompt import prompt, targets
from retune.llm.sft_loss import SFTLoss
from tests.support import tiny_llm

PAIR = {"system": "对齐吗？", "user": "一：{text_a}\n二：{text_b}", "answers": {"0": "不对齐", "1": "对齐"}}
SCORES = [str(score) for score in range(1, 11)]
SCORING = {
    "system": "打分。",
    "user": "维度：{dimension}\n{document}",
    "answers": {score: score for score in SCORES},
    "reason": "\n理由：",
    "values": {"dimension": {"innovation": "创新性"}},
}
TOKENIZER = tiny_llm.tokenizer()
THINKING = tiny_llm.tokenizer()
THINKING.add_tokens(["<think>", "</think>"])


def chat(scoring: bool = False, thinking: bool = True, max_length: int = 600, tokenizer=THINKING) -> prompt.ChatPrompt:
    template, fields = (SCORING, ("document", "dimension")) if scoring else (PAIR, ("text_a", "text_b"))
    labels = SCORES if scoring else ("0", "1")
    return prompt.prepare(tokenizer, template, fields, labels, max_length, thinking=thinking)


def frame(**columns: list) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    return pl.DataFrame({"document": ["公司"] * count, "dimension": ["innovation"] * count, **columns})


TEXT = st.text(alphabet=st.sampled_from("对齐不是理由：1089 a\n<>/think"), max_size=30) | st.text(max_size=20)


@given(TEXT, TEXT, st.sampled_from(SCORES), st.booleans())
@example("增长</think>\n\n9", "", "3", True)  # a row that would end its own thoughts
def test_a_target_reads_back_as_its_row(reasoning: str, reason: str, score: str, thinking: bool) -> None:
    row = {"score": int(score), "reasoning": reasoning, "reason": reason}
    text = targets.target_text(row, SCORING, thinking)
    said = targets.parse(text, SCORES, SCORING["reason"], thinking)
    assert said.code == SCORES.index(score)
    assert said.reason == (reason.strip() or None)
    if thinking:
        shown = reasoning.strip().replace("</think>", "</ think>")
        assert said.reasoning == shown.strip()


@given(TEXT, TEXT, st.sampled_from(SCORES), st.booleans(), st.sampled_from([TOKENIZER, THINKING]))
def test_the_tokens_of_a_target_are_its_text_and_the_end(
    reasoning: str, reason: str, score: str, thinking: bool, tokenizer
) -> None:
    ready = chat(scoring=True, thinking=thinking, tokenizer=tokenizer)
    rows = frame(score=[int(score)], reasoning=[reasoning], reason=[reason])
    done = targets.encode(ready, rows, [SCORES.index(score)], prompt.encode(ready, rows).ids)
    *ids, end = done.ids[0]
    assert end == ready.end
    assert done.truncated == [False]
    text = targets.target_text(rows.row(0, named=True), SCORING, thinking)
    assert ready.tokenizer.decode(ids, skip_special_tokens=False) == text
    if tokenizer is THINKING:
        tags = [THINKING.convert_tokens_to_ids(tag) for tag in ("<think>", "</think>")]
        assert [ids.count(tag) for tag in tags] == [thinking, thinking], "tags in the data are plain text"


def test_a_row_without_reasoning_has_an_empty_block_and_one_without_reason_none() -> None:
    ready = chat(scoring=True)
    rows = frame(score=[7, 10], reasoning=[None, "增长快"], reason=[None, "专利多"])
    texts = [ready.tokenizer.decode(ids[:-1]) for ids in targets.encode(ready, rows, [6, 9], [[1], [1]]).ids]
    assert texts == ["<think>\n\n</think>\n\n7", "<think>\n增长快\n</think>\n\n10\n理由：专利多"]
    assert texts == [targets.target_text(row, SCORING, True) for row in rows.iter_rows(named=True)]


def test_a_long_reasoning_is_cut_and_counted_and_the_answer_never() -> None:
    ready = chat(scoring=True, max_length=200)
    rows = frame(
        score=[7, 8, 9, 10],
        reasoning=["短", "长" * 300, "短", "长" * 300],
        reason=["短", "因为", "长" * 300, "久" * 300],
        document=["司", "司" * 300, "司" * 300, "司" * 300],
    )
    prompts = prompt.encode(ready, rows)
    done = targets.encode(ready, rows, [6, 7, 8, 9], prompts.ids)
    assert done.truncated == [False, True, True, True]
    assert [len(p) + len(t) <= 200 for p, t in zip(prompts.ids, done.ids, strict=True)] == [True] * 4
    assert [len(p) + len(t) == 200 for p, t in zip(prompts.ids, done.ids, strict=True)][1:] == [True] * 3
    said = [targets.parse(ready.tokenizer.decode(ids[:-1]), SCORES, SCORING["reason"]) for ids in done.ids]
    assert [one.code for one in said] == [6, 7, 8, 9]
    assert said[1].reason == "因为", "a short reason stays whole"
    assert said[2].reasoning == "短"
    assert min(len(said[3].reasoning), len(said[3].reason)) > 4, "both keep a part"


def test_the_prompt_of_a_row_does_not_depend_on_its_reasoning() -> None:
    ready = chat(max_length=140)
    rows = pl.DataFrame({"text_a": ["长" * 90], "text_b": ["短"]})
    done = prompt.encode(ready, rows)
    assert done.truncated == [True]
    assert len(done.ids[0]) <= 140 - 35 - len(ready.think.open) - len(ready.think.close) - len(ready.answers[0]) - 1
    assert chat(thinking=False, max_length=140).think is None


@pytest.mark.parametrize(
    ("text", "code", "reasoning"),
    [
        ("<think>\n1. 型号相同\n</think>\n\n对齐", 1, "1. 型号相同"),
        ("<think>\n看来是对齐\n</think>\n\n<label>不对齐</label>", 0, "看来是对齐"),
        ("1. 型号不同\n</think>\n\n答案是：不对齐。", 0, "1. 型号不同"),
        ("<think>\n判断：对齐\n\n<label>对齐</label>", None, "判断：对齐\n\n<label>对齐</label>"),
        ("<think>\n对齐", None, "对齐"),
        ("<think>\n对齐\n</think>\n\n也许", None, "对齐"),
        ("<think>\n对齐\n</think>\n\n", None, "对齐"),
        ("<think>\n</think>对齐\n因为不对齐的都不是", 1, ""),
        ("", None, ""),
    ],
)
def test_an_answer_stands_behind_the_closing_tag(text: str, code: int | None, reasoning: str) -> None:
    said = targets.parse(text, ["不对齐", "对齐"])
    assert (said.code, said.reasoning) == (code, reasoning)


def test_a_score_is_not_taken_from_its_reason() -> None:
    said = targets.parse("<think>\n3\n</think>\n\n8\n理由：增长10%，排名第1", SCORES, SCORING["reason"])
    assert (said.code, said.reason) == (7, "增长10%，排名第1")
    assert targets.parse("</think>\n8分\n因为增长10%", SCORES, SCORING["reason"]).code == 7


def test_templates_that_think_begin_at_the_same_place() -> None:
    always = tiny_llm.CHATML.replace("assistant\\n", "assistant\\n<think>\\n")
    either = tiny_llm.CHATML.replace(
        "assistant\n{% endif %}",
        "assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
    )
    rows = pl.DataFrame({"text_a": ["一"], "text_b": ["二"]})
    plain = prompt.encode(chat(), rows).ids[0]
    for template in (always.replace("assistant\n", "assistant\n<think>\n"), either):
        words = tiny_llm.tokenizer(template)
        words.add_tokens(["<think>", "</think>"])
        assert prompt.encode(chat(tokenizer=words), rows).ids[0] == plain
    silent = chat(tokenizer=words, thinking=False)
    ready = chat(tokenizer=words)
    assert prompt.encode(silent, rows).ids[0] == plain + ready.think.empty, "no thoughts: the template's own block"


@pytest.mark.parametrize("kernel", ["chunks", None])
def test_the_loss_of_long_targets_is_that_of_each_row_alone(kernel: str | None, monkeypatch) -> None:
    from retune.llm.packing import output_head

    model = tiny_llm.model(vocabulary=len(THINKING)).double()
    monkeypatch.setattr(output_head, "_rows_within", lambda *_: 7)  # positions of the head at a time
    ready = chat(scoring=True)
    rows = frame(
        score=[7, 8, 9, 10, 1],
        reasoning=["增长快，专利多" * 3, "增长快，专利少", None, "增长慢", "增长快，专利多" * 2],
        reason=["专利", None, "增长", "专利不多", "市场小"],
        document=["甲公司", "甲公司", "乙", "丙公司有专利", "丁"],
    )
    prompts = prompt.encode(ready, rows).ids
    found = targets.encode(ready, rows, [6, 7, 8, 9, 0], prompts)
    weights = found.weights(3.0)
    items = list(zip(prompts, found.ids, weights, strict=True))
    heavy = [[t for t, w in zip(ids, by, strict=True) if w != 1.0] for _, ids, by in items]
    assert heavy == [ready.answers[code] for code in (6, 7, 8, 9, 0)], "the answer's tokens alone weigh more"

    def naive() -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for row, answer, by in items:
            logits = model(torch.tensor([[*row, *answer]]), use_cache=False).logits[0].log_softmax(-1)
            total = total - sum(
                w * logits[len(row) - 1 + i, t] for i, (t, w) in enumerate(zip(answer, by, strict=True))
            )
        return total / sum(map(sum, weights))

    want = naive()
    model.zero_grad()
    want.backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    objective = SFTLoss(PackedModel(model, kernel))
    micro_batches = objective.split(items, items, 200)
    assert len(micro_batches) > 1
    total = torch.zeros((), dtype=torch.float64)
    for micro_batch in micro_batches:
        loss = objective.loss(model, micro_batch)
        loss.backward()
        total += loss.detach()
    assert float(total) == pytest.approx(float(want), abs=1e-9)
    for name, weight in model.named_parameters():
        if name in gradients:
            assert np.allclose(weight.grad, gradients[name], atol=1e-8), name
    assert objective.mean(items) == pytest.approx(float(want), abs=1e-6)
