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
from retune.exports import decision
from retune.exports.protocol import Built
from tests.support import ROOT, exported, exported_llm, llm_fit
from tests.support.exported_llm import ANSWERS, ROWS, answers, export, probabilities


def decider(folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder)
    return pipeline("decision", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))


def test_yes_or_no_is_the_probability_of_the_second_label(tiny: Built, tmp_path: Path) -> None:
    decide = decider(export(tiny, "decision", tmp_path / "export"))
    for row, probability in zip(ROWS.to_dicts()[:5], probabilities(tiny)[:, 1], strict=False):
        state = {name: row[name] for name in ("text_a", "text_b")}
        found = decide({"state": state, "questions": {"same": {"type": "noul"}}})
        assert np.isclose(found["same"]["noul"], probability, atol=1e-5)


def test_the_code_of_the_docs_page_answers_as_the_model(
    tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exports").mkdir()
    folder = export(tiny, "decision", tmp_path / "exports/similarity_llm")
    monkeypatch.chdir(tmp_path)
    found = ran(ROOT / "docs/decision-models.md")
    expected = probabilities(tiny, pl.DataFrame({**found["state"], "id": ["a"]}))[0, 1]
    assert np.isclose(found["answers"]["same"]["noul"], expected, atol=1e-5)
    monkeypatch.chdir(folder)
    found = ran(folder / "README.md")
    expected = probabilities(tiny, pl.DataFrame({"text_a": "...", "text_b": "...", "id": "a"}))[0]
    assert np.allclose(list(found["answers"]["answer"]["probabilities"].values()), expected, atol=1e-5)


def ran(page: Path) -> dict[str, Any]:
    """The names that the page's code has left."""
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def test_options_in_another_order_are_refused_since_only_their_place_tells_them(tiny: Built, tmp_path: Path) -> None:
    decide = decider(export(tiny, "decision", tmp_path / "export"))
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


def test_control_tokens_and_line_breaks_at_the_edge_of_a_text_stay_what_they_are(tmp_path: Path) -> None:
    prompt = {"system": "相同吗？\n", "user": "{text_a}\n{text_b}", "answers": ANSWERS}
    tiny = exported_llm.untrained(tmp_path, prompt=prompt)
    with_merged_line_breaks(tiny.base)
    texts = ["花呗 <|im_end|>", "<|im_start|>assistant", '"{{ 1 }}" {text_b} \\n', "\n\n花呗", "<|mark|>", "😀\u2028'"]
    rows = pl.DataFrame({"text_a": texts, "text_b": texts[::-1], "id": texts})
    out = export(tiny, "merged decision", tmp_path / "small")
    assert exported.prove(tiny, out, rows)["largest_difference"] < 1e-5
    ends = [ids.count(2) for ids in answers(out, rows.select(tiny.columns))["tokens"]]
    assert ends == [2] * len(texts), "the ends of the system's and of the user's turn"
    # a chat template's text is cut into tokens as a whole, where training cuts instructions and data apart
    said = r"tokens: the same text is cut differently at token \d+ of row 3: the tokenizer is another one, or"
    with pytest.raises(RetuneError, match=said):
        exported.prove(tiny, export(tiny, "merged", tmp_path / "merged"), rows)


def test_answers_that_go_on_alike_are_refused_with_the_remedy(tiny: Built) -> None:
    for texts, said in (
        ({"0": "1", "1": "10"}, None),
        ({"0": "A1B", "1": "A1C"}, None),
        ({"0": "A1", "1": "B", "2": "A2"}, "'0' and '2' go on alike: give the prompt answers of one token each"),
        ({"0": "否", "1": "是"}, "are not read as single tokens: give the prompt answers of one token each"),
    ):
        spec = llm_fit.spec_of(labels=list(texts), prompt={**llm_fit.PROMPT, "answers": texts})
        chat = decision.prepare(spec, tiny.base)
        if said is None:
            begun, labels = decision.label_tokens(chat, tiny.base)
            assert (begun, labels) in (("1", ["<|im_end|>", "0"]), ("A1", ["B", "C"]))
            continue
        with pytest.raises(RetuneError, match=said):
            decision.label_tokens(chat, tiny.base)


@pytest.mark.parametrize("texts", [{"0": "1", "1": "10"}, {"0": "A1B", "1": "A1C"}])
def test_answers_that_part_later_are_read_where_they_part(texts: dict[str, str], tmp_path: Path) -> None:
    tiny = exported_llm.untrained(tmp_path, prompt={**llm_fit.PROMPT, "answers": texts})
    out = export(tiny, "merged decision", tmp_path / "small")
    assert exported.prove(tiny, out, ROWS)["largest_difference"] < 1e-5


def test_a_score_is_asked_by_the_name_of_its_dimension(tmp_path: Path) -> None:
    levels = {"1": "A", "2": "B", "3": "C"}
    shown = {"dimension": {"risk": "风险", "growth": "增长"}}
    user = "{document}\n维度：{dimension}"
    prompt = {"system": "打分", "user": user, "answers": levels, "reason": "\n理由：", "values": shown}
    numbers = {"labels": list(levels), "scores": [1, 3], "dimensions": list(shown["dimension"])}
    tiny = exported_llm.untrained(
        tmp_path, {"temperature": 1.3, "estimate": "mean"}, kind="scoring", prompt=prompt, **numbers
    )
    texts = [f"公司{n}" for n in range(4)]
    rows = pl.DataFrame({"document": texts, "dimension": ["risk", "growth"] * 2, "id": texts})
    folder = export(tiny, "merged decision", tmp_path / "small")
    assert exported.prove(tiny, folder, rows)["largest_difference"] < 1e-5
    answer = decider(folder)({"state": {"document": texts[0]}, "questions": decision.questions(tiny.spec)})
    mean = float(probabilities(tiny, rows)[0] @ np.array([0.0, 1.0, 2.0]))
    assert np.isclose(answer["risk"]["score"], mean, atol=1e-5)


def test_one_text_may_be_the_state_itself(tmp_path: Path) -> None:
    labels = ["办理取消", "查询"]
    texts = dict(zip(labels, ANSWERS.values(), strict=True))
    prompt = {"system": "意图：\n{labels}", "user": "{text}", "answers": texts}
    tiny = exported_llm.untrained(tmp_path, {"temperature": 2.0}, kind="classification", labels=labels, prompt=prompt)
    expected = probabilities(tiny, pl.DataFrame({"text": ["取消套餐"], "id": ["a"]}))[0]
    decide = decider(export(tiny, "merged decision", tmp_path / "small"))
    for state in ("取消套餐", {"text": "取消套餐"}):
        found = decide({"state": state, "questions": decision.questions(tiny.spec)})["answer"]["probabilities"]
        assert list(found) == labels
        assert np.allclose(list(found.values()), expected, atol=1e-5)
