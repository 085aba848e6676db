"""Built models that think, from Python and the command line: scores of chosen dimensions, alignments, files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import retune
from retune import learners, predict_file
from retune.errors import RetuneError
from tests.support import tiny_llm
from tests.support.command_line import run
from tests.support.reasoning_fit import GENERATION, LEARNT, companies, pair, pairs, scoring

pytestmark = pytest.mark.slow

TEMPERATURE = 2.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a scoring and a pair model that think, and a linear model of scores."""
    root = tmp_path_factory.mktemp("project")
    base = tiny_llm.tiny_llm(root / "models/bases/llm")
    (root / "models/bases/scratch").mkdir()
    options = {"analyzer": "char", "ngrams": [1, 2], "min_df": 1, "c": 1.0, "class_weights": "none"}
    plain = scoring(learner="linear", base="scratch", linear=options)
    specs = {"risk_llm": scoring(**LEARNT), "align_llm": pair(**LEARNT), "risk_linear": plain}
    for name, spec in specs.items():
        folder = root / "models" / name
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(spec))
        rows = pairs(48) if spec.kind == "pair" else companies(48)
        learners.fit(spec, rows, rows[:8], base, folder, root / "scratch" / name)
        fitted = root / f"data/calibrations/{spec.task}/{name}.json"
        fitted.parent.mkdir(parents=True, exist_ok=True)
        threshold = {"threshold": 0.5} if spec.kind == "pair" else {"estimate": "median"}
        fitted.write_text(json.dumps({"temperature": TEMPERATURE, **threshold}))
    tables = [{"file": "train/*.json", "columns": {"document": "info", "dimension": "$file", "score": "score"}}]
    tasks = {"risk": {"convert": {"tables": tables}}, "similarity": {"convert": {"tables": []}}}
    predictions = {"risk_llm": {"generation": GENERATION}, "align_llm": {"generation": GENERATION}, "risk_linear": {}}
    resolved = {"seed": 0, "tasks": tasks, "models": specs, "predictions": predictions}
    (root / "params-resolved.json").write_text(json.dumps(resolved))
    return root


def test_a_document_is_scored_in_chosen_dimensions(root: Path) -> None:
    model = retune.load(root / "models/risk_llm")
    found = model.score("好", dimensions=["market"])
    assert list(found) == ["market"]
    assert set(found["market"]) == {"score", "expected", "reason", "reasoning"}
    assert (found["market"]["score"], found["market"]["reason"], found["market"]["reasoning"]) == (10, "还款", "花呗")
    assert 5 < found["market"]["expected"] < 10, "the temperature spreads the distribution"
    assert list(model.score("差")) == ["growth", "market"]
    assert model.score("差")["growth"]["score"] == 1
    with pytest.raises(RetuneError, match="no dimension `markt` of risk_llm; did you mean `market`"):
        model.score("好", ["markt"])
    listed = model.score(["好", "差"], ["market"])
    assert listed[0]["market"]["expected"] == pytest.approx(found["market"]["expected"], abs=1e-4)
    assert [one["market"]["score"] for one in listed] == [10, 1]
    assert model.score([]) == []
    with pytest.raises(
        RetuneError, match=r"align is for kind pair, and risk_llm is of kind scoring: call score\(document\)"
    ):
        model.align("a", "b")


def test_scores_are_those_of_the_report(root: Path) -> None:
    from retune.evaluation.kinds.scoring import estimated

    model = retune.load(root / "models/risk_llm")
    rows = companies(6)
    found = model.predict(rows.select("document", "dimension"))
    assert {"score", "prob_1", "prob_10", "generated_label", "reasoning", "reason"} <= set(found.columns)
    raw = model.predictor.predict(rows)
    joined = rows.join(raw.drop("score", "reasoning", "reason"), on="id", maintain_order="left")
    wanted = estimated(joined.with_columns(parsed=pl.lit(True)), model.fitted, model.spec)
    assert np.allclose(found["score"], wanted)
    assert not np.allclose(found["score"], raw["score"]), "what was fitted must matter"


def test_a_linear_model_scores_without_reasons(root: Path) -> None:
    found = retune.load(root / "models/risk_linear").score("好")
    assert found["growth"]["score"] == round(found["growth"]["expected"]) > 5
    assert found["growth"]["reason"] is found["growth"]["reasoning"] is None


def test_two_texts_are_aligned(root: Path) -> None:
    model = retune.load(root / "models/align_llm")
    found = model.align("3花", "是是是")
    assert (found["label"], found["answer"], found["reasoning"]) == ("1", "是", "借呗")
    assert 0.5 < found["probability"] < 1
    with pytest.raises(RetuneError, match="score is for kind scoring"):
        model.score("好")


def test_the_commands_print_json(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "company.txt"
    file.write_text("好", encoding="utf-8")
    out, _ = run(root, "score", "risk_llm", str(file), "--dimensions", "growth, market")
    assert {name: entry["score"] for name, entry in json.loads(out).items()} == {"growth": 10, "market": 10}
    out, _ = run(root, "align", "align_llm", "1花", "吗吗吗")
    assert json.loads(out)["answer"] == "否"
    _, errors = run(root, "score", "risk_llm", "好", "--dimensions", "growt", fails=True)
    assert "did you mean `growth`" in errors


def lines(root: Path, file: Path, wanted: tuple[str, ...] = (), **given: str) -> list[dict[str, Any]]:
    model, out = retune.load(root / "models/risk_llm"), file.with_suffix(".csv")
    tables = json.loads((root / "params-resolved.json").read_text())["tasks"]["risk"]["convert"]["tables"]
    read, columns = predict_file.mapping(model, file, tables, None, given)
    columns, asked = predict_file.asked(model, file, columns, wanted)
    with predict_file.output(out, None) as (stream, form):
        predict_file.predict(model, file, read, columns, form, stream, asked)
    with out.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_record_of_a_file_is_scored_in_every_dimension(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.json"
    file.write_text(json.dumps([{"id": 7, "info": "好"}, {"id": 8, "info": ""}, {"id": 9, "info": "差"}]))
    found = lines(root, file)
    assert [(line["id"], line["dimension"]) for line in found] == [
        (number, dimension) for number in "789" for dimension in ("growth", "market")
    ]
    assert [line["generated_label"] for line in found] == ["10", "10", "", "", "1", "1"]
    assert found[0]["given_reason"] == "还款"
    assert found[0]["reason"] == ""
    assert "`document` is missing" in found[2]["reason"]
    assert [line["dimension"] for line in lines(root, file, ("market",))] == ["market"] * 3


def test_a_file_may_say_the_dimension(root: Path, tmp_path: Path) -> None:
    named = tmp_path / "market.json"
    named.write_text(json.dumps([{"info": "好"}]))
    assert [line["dimension"] for line in lines(root, named)] == ["market"], "by its name, as the catalog says"
    file = tmp_path / "mixed.json"
    file.write_text(json.dumps([{"info": "好", "of": "growth"}, {"info": "好", "of": "size"}]))
    found = lines(root, file, dimension="of")
    assert [line["dimension"] for line in found] == ["growth", ""]
    assert "none of growth, market" in found[1]["reason"]


def test_without_the_compiled_parameters_nothing_is_generated(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    (copy / "params-resolved.json").unlink()
    found = retune.load(copy / "models/risk_llm").score("好", ["growth"])["growth"]
    assert found["reasoning"] is None
    assert found["score"] in range(1, 11)
