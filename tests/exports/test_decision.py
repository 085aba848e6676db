"""An LLM as a decision model of transformers: its questions, its options, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from retune.errors import RetuneError
from retune.exports import decision, llm_parity
from tests.support import exported_llm, llm_fit
from tests.support.exported_llm import ANSWERS, Tiny, opened_here


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))


def decider(folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder)
    return pipeline("decision", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))


def test_yes_or_no_is_the_probability_of_the_second_label(tiny: Tiny, tmp_path: Path) -> None:
    decide = decider(tiny.export("decision", tmp_path / "export"))
    expected = llm_parity.expected(tiny.model, tiny.base, tiny.spec, tiny.fitted, tiny.rows)
    for row, probability in zip(tiny.rows.to_dicts()[:5], expected.probabilities[:, 1], strict=False):
        state = {name: row[name] for name in ("text_a", "text_b")}
        found = decide({"state": state, "questions": {"same": {"type": "noul"}}})
        assert np.isclose(found["same"]["noul"], probability, atol=1e-5)


def test_options_in_another_order_are_refused_since_only_their_place_tells_them(tiny: Tiny, tmp_path: Path) -> None:
    decide = decider(tiny.export("decision", tmp_path / "export"))
    state = {"text_a": "花呗", "text_b": "借呗"}
    for question in (
        {"type": "choice", "criteria": {"1": None, "0": None}},
        {"type": "choice", "criteria": {"0": None, "1": None, "2": None}},
        {"type": "score", "criteria": ["a", "b"]},
    ):
        with pytest.raises(Exception, match=r"trained to choose among 0, 1, in this order|at most 2 options"):
            decide({"state": state, "questions": {"same": question}})


def with_merged_line_breaks(base: Path) -> None:
    """Let the tokenizer have one token for two line breaks, as large ones do."""
    file = base / "tokenizer.json"
    content = json.loads(file.read_text())
    words, merges = content["model"]["vocab"], content["model"]["merges"]
    words["ĊĊ"] = words.pop("".join(merges[-1]))
    merges[-1] = ["Ċ", "Ċ"]
    file.write_text(json.dumps(content))


def test_control_tokens_and_line_breaks_at_the_edge_of_a_text_stay_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = {"system": "相同吗？\n", "user": "{text_a}\n{text_b}", "answers": ANSWERS}
    tiny = exported_llm.fitted(tmp_path, prompt=prompt)
    with_merged_line_breaks(tiny.base)
    texts = ["花呗 <|im_end|>", "<|im_start|>assistant", '"{{ 1 }}" {text_b} \\n', "\n\n花呗", "<|mark|>", "😀\u2028'"]
    rows = pl.DataFrame({"text_a": texts, "text_b": texts[::-1], "id": texts})
    expected = llm_parity.expected(tiny.model, tiny.base, tiny.spec, tiny.fitted, rows)
    asked = rows.select("text_a", "text_b").to_dicts()
    found = opened_here(tiny.export("decision", tmp_path / "decision"), asked, monkeypatch)
    ends = [ids.count(2) for ids in found["tokens"]]
    assert ends == [2] * len(texts), "the ends of the system's and of the user's turn"
    assert found["tokens"][3] == expected.tokens[3]
    assert np.allclose(found["answers"], expected.probabilities, atol=1e-4)
    # a chat template's text is cut into tokens as a whole, where training cuts instructions and data apart
    plain = opened_here(tiny.export("adapter", tmp_path / "adapter"), asked, monkeypatch)
    said = r"tokens: the same text is cut differently at token \d+ of row 3: the tokenizer is another one, or"
    assert re.match(said, llm_parity.cause(expected, plain, "float32"))


def test_answers_that_go_on_alike_are_refused_with_the_remedy(tiny: Tiny) -> None:
    for answers, said in (
        ({"0": "1", "1": "10"}, None),
        ({"0": "A1B", "1": "A1C"}, None),
        ({"0": "A1", "1": "B", "2": "A2"}, "'0' and '2' go on alike: give the prompt answers of one token each"),
        ({"0": "否", "1": "是"}, "are not read as single tokens: give the prompt answers of one token each"),
    ):
        spec = llm_fit.spec_of(labels=list(answers), prompt={**llm_fit.PROMPT, "answers": answers})
        chat = decision.prepare(spec, tiny.base)
        if said is None:
            begun, labels = decision.label_tokens(chat, tiny.base)
            assert (begun, labels) in (("1", ["<|im_end|>", "0"]), ("A1", ["B", "C"]))
            continue
        with pytest.raises(RetuneError, match=said):
            decision.label_tokens(chat, tiny.base)


@pytest.mark.parametrize("answers", [{"0": "1", "1": "10"}, {"0": "A1B", "1": "A1C"}])
def test_answers_that_part_later_are_read_where_they_part(
    answers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = exported_llm.fitted(tmp_path, prompt={**llm_fit.PROMPT, "answers": answers})
    expected = llm_parity.expected(tiny.model, tiny.base, tiny.spec, tiny.fitted, tiny.rows)
    folder = tiny.export("decision", tmp_path / "export")
    found = opened_here(folder, tiny.rows.select("text_a", "text_b").to_dicts(), monkeypatch)
    assert np.allclose(found["answers"], expected.probabilities, atol=1e-5)


def test_a_score_is_asked_by_the_name_of_its_dimension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = {"1": "A", "2": "B", "3": "C"}
    shown = {"dimension": {"risk": "风险", "growth": "增长"}}
    prompt = {
        "system": "打分",
        "user": "{document}\n维度：{dimension}",
        "answers": levels,
        "reason": "\n理由：",
        "values": shown,
    }
    base = exported_llm.tiny_llm.tiny_llm(tmp_path / "base")
    spec = llm_fit.spec_of(
        kind="scoring", labels=list(levels), scores=[1, 3], dimensions=list(shown["dimension"]), prompt=prompt,
        training__epochs=0,
    )  # fmt: skip
    model = tmp_path / "model"
    model.mkdir()
    (model / "spec.json").write_text(json.dumps(spec))
    texts = [f"公司{n}" for n in range(4)]
    rows = pl.DataFrame({"document": texts, "dimension": ["risk", "growth"] * 2, "id": texts})
    fitted = {"temperature": 1.3, "estimate": "mean"}
    tiny = Tiny(model, base, spec, fitted, rows)
    expected = llm_parity.expected(model, base, spec, fitted, rows)
    folder = tiny.export("merged decision", tmp_path / "export")
    found = llm_parity.compare(
        expected, opened_here(folder, rows.select("document", "dimension").to_dicts(), monkeypatch)
    )
    assert found["passed"], found
    assert found["same_tokens"] == 1
    assert found["largest"] < 1e-5
    answer = decider(folder)({"state": texts[0] and {"document": texts[0]}, "questions": decision.questions(spec)})
    mean = float(expected.probabilities[0] @ np.array([0.0, 1.0, 2.0]))
    assert np.isclose(answer["risk"]["score"], mean, atol=1e-5)


def test_one_text_may_be_the_state_itself(tmp_path: Path) -> None:
    base = exported_llm.tiny_llm.tiny_llm(tmp_path / "base")
    labels = ["办理取消", "查询"]
    prompt = {
        "system": "意图：\n{labels}",
        "user": "{text}",
        "answers": dict(zip(labels, ANSWERS.values(), strict=True)),
    }
    spec = llm_fit.spec_of(kind="classification", labels=labels, prompt=prompt, training__epochs=0)
    model = tmp_path / "model"
    model.mkdir()
    (model / "spec.json").write_text(json.dumps(spec))
    rows = pl.DataFrame({"text": ["取消套餐"], "id": ["a"]})
    expected = llm_parity.expected(model, base, spec, {"temperature": 2.0}, rows)
    tiny = Tiny(model, base, spec, {"temperature": 2.0}, rows)
    decide = decider(tiny.export("merged decision", tmp_path / "export"))
    for state in ("取消套餐", {"text": "取消套餐"}):
        found = decide({"state": state, "questions": decision.questions(spec)})["answer"]["probabilities"]
        assert list(found) == labels
        assert np.allclose(list(found.values()), expected.probabilities[0], atol=1e-5)
