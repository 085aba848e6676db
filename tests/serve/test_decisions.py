"""/v1/systemone answers as transformers' own `pipeline("decision")` does on the exported decision model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from retune import learners
from retune.exports.protocol import PLAIN, Built
from retune.inference import Model
from tests.support import exported_llm, llm_fit
from tests.support.served import Service, model

pytestmark = pytest.mark.slow

NEAR = {"abs": 1e-5}


def both(tiny: Built, place: Path) -> tuple[Service, Any]:
    """The service of a tiny LLM, and transformers' pipeline on its export."""
    spec = tiny.spec
    (tiny.folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    predictor = learners.load(spec, tiny.folder, tiny.base, PLAIN)
    folder = exported_llm.export(tiny, "merged decision", place / "export")
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    decide = pipeline("decision", model=theirs, tokenizer=AutoTokenizer.from_pretrained(folder))
    return Service(Model("tiny", spec, predictor, dict(tiny.fitted), folder)), decide


def close(found: dict[str, Any]) -> dict[str, Any]:
    """The answers with numbers that need be near only."""
    return {
        name: {
            key: pytest.approx(value, **NEAR) if isinstance(value, float | dict) and key != "legend" else value
            for key, value in one.items()
        }
        for name, one in found.items()
    }


def test_choices_and_yes_or_no_are_those_of_transformers(tmp_path: Path) -> None:
    tiny = exported_llm.fitted(tmp_path)
    service, decide = both(tiny, tmp_path)
    questions = {"same": {"type": "noul"}, "which": {"type": "choice", "criteria": {"0": None, "1": None}}}
    for row in exported_llm.ROWS.select("text_a", "text_b").to_dicts()[:5]:
        expected = close(decide({"state": row, "questions": questions}))
        found = service.post("/v1/systemone", {"model": "tiny", "state": row, "questions": questions})
        label = service.post("/similar", {"pairs": [[row["text_a"], row["text_b"]]]})["results"][0]["label"]
        assert found["answers"] == {name: {**one, "label": label} for name, one in expected.items()}
        assert found["usage"]["input_tokens"] > 0
    other = {"which": {"type": "choice", "criteria": {"1": None, "0": None}}}
    error = service.post("/v1/systemone", {"state": row, "questions": other}, 422)["error"]
    assert error["message"] == "questions.which: tiny was trained to `choice` among 0, 1, in this order"
    service.close()


def test_scores_of_dimensions_are_those_of_transformers(tmp_path: Path) -> None:
    levels = {"1": "A", "2": "B", "3": "C"}
    prompt = {"system": "打分", "user": "{document}\n维度：{dimension}", "answers": levels}
    base = exported_llm.tiny_llm.tiny_llm(tmp_path / "base")
    spec = llm_fit.spec_of(
        kind="scoring", labels=list(levels), scores=[1, 3], dimensions=["risk", "growth"], prompt=prompt,
        training__epochs=0,
    )  # fmt: skip
    folder = tmp_path / "model"
    folder.mkdir()
    service, decide = both(exported_llm.built(folder, base, spec, {"temperature": 1.3, "estimate": "mean"}), tmp_path)
    questions = {name: {"type": "score", "criteria": ["low", "middle", "high"]} for name in ("growth", "risk")}
    asked = {"state": {"document": "公司主营机器人"}, "questions": questions}
    expected = decide(asked)
    found = service.post("/v1/systemone", asked)["answers"]
    assert found == close(expected)
    assert found["risk"]["score"] != pytest.approx(found["growth"]["score"], abs=1e-6)
    error = service.post("/v1/systemone", {**asked, "questions": {"rusk": questions["risk"]}}, 422)["error"]
    assert "there is no dimension `rusk` of tiny; did you mean `risk`?" in error["message"]
    service.close()


def test_a_model_of_one_text_answers_about_a_plain_text() -> None:
    one = model("texts")
    service = Service(one)
    (row,) = one.predict([{"text": "花呗怎么还"}])
    question = {"type": "choice", "criteria": dict.fromkeys(one.spec.labels)}
    (found,) = service.post("/v1/systemone", {"state": "花呗怎么还", "questions": {"it": question}})["answers"].values()
    assert found["choice"] == row["label"]
    assert found["probabilities"] == pytest.approx({label: row[f"prob_{label}"] for label in one.spec.labels}, **NEAR)
    service.close()
