"""Built models on new rows, from Python by `retune.load`, and typed into `retune ask`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import retune
from retune.errors import RetuneError
from tests.support import inference_project
from tests.support.command_line import run
from tests.support.inference_project import LABELS, PAIRS, TEMPERATURE, TEXTS, THRESHOLD

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inference_project.project(tmp_path_factory.mktemp("project"))


def test_decisions_are_those_of_the_report(root: Path) -> None:
    from retune.evaluation.kinds.pair import decided

    model = retune.load(root / "models/same")
    rows = pl.DataFrame(PAIRS, schema=["text_a", "text_b"], orient="row")
    raw = model.predictor.predict(rows.with_columns(id=pl.lit("x")))
    joined = raw.select("prob_0", "prob_1", label=pl.lit(0), parsed=pl.lit(True), group=pl.lit("g"))
    expected = decided(joined, TEMPERATURE, THRESHOLD)
    found = model.predict(rows)
    assert found["prob_1"].to_list() == pytest.approx(expected.probabilities.tolist())
    assert found["label"].cast(pl.Int64).to_list() == expected.decisions.tolist()
    assert ((found["prob_1"] > THRESHOLD) & (found["prob_1"] < 0.5)).any(), "the threshold must matter"
    assert not np.allclose(found["prob_1"], raw["prob_1"]), "the temperature must matter"
    chosen = pl.when(pl.col("label") == "1").then("prob_1").otherwise("prob_0")
    assert found["probability"].to_list() == found.select(chosen).to_series().to_list()


def test_texts_are_classified_from_python(root: Path) -> None:
    model = retune.load(root / "models/intent")
    found = model.classify([TEXTS[1], TEXTS[0]])
    assert [row["label"] for row in found] == [LABELS[1], LABELS[0]]
    assert all(1 / 3 < row["probability"] < 1 for row in found)
    assert model.classify([]) == []
    assert model.predict(pl.DataFrame({"text": TEXTS, "more": 1}).to_pandas())["label"].to_list() == LABELS
    with pytest.raises(RetuneError, match=r"row 1 \(from 0\) has no `text`"):
        model.classify(["a", " "])
    with pytest.raises(RetuneError, match="same reads `text_b`, but the rows have text_a"):
        retune.load(root / "models/same").predict([{"text_a": "a"}])


def test_pairs_are_classified_and_aligned_one_by_one_or_in_a_batch(root: Path) -> None:
    model = retune.load(root / "models/same")
    wanted = [
        {"label": row["label"], "probability": row["probability"]}
        for row in model.predict([{"text_a": a, "text_b": b} for a, b in PAIRS])
    ]
    assert model.classify(PAIRS) == model.similar(PAIRS) == wanted
    assert model.similar([list(pair) for pair in PAIRS]) == wanted  # as JSON has them
    aligned = model.align(PAIRS)
    assert [{"label": row["label"], "probability": row["probability"]} for row in aligned] == wanted
    assert [model.align(*pair) for pair in PAIRS] == [
        row | {"probability": pytest.approx(row["probability"])} for row in aligned
    ]
    assert model.similar([]) == model.align([]) == model.predict([]) == []


@pytest.mark.parametrize(
    ("name", "method", "inputs", "said"),
    [
        (
            "same",
            "score",
            ("a",),
            r"score is for kind scoring, and same is of kind pair: call similar\(pairs\) or align",
        ),
        ("same", "rerank", ("a", ["b"]), "rerank is for kind ranking, and same is of kind pair: call similar"),
        ("same", "embed", (["a"],), "embed is for learner embedder, and same is of learner linear: call similar"),
        (
            "intent",
            "similar",
            ([("a", "b")],),
            r"similar is for kind pair, and intent is of .*: call classify\(texts\)",
        ),
        ("intent", "align", ("a", "b"), r"align is for kind pair, and intent is of kind classification: call classify"),
        ("intent", "classify", ("帮我查",), "classify of intent takes a list of texts, not one text"),
        ("same", "similar", ("帮我查",), "similar of same takes a list of pairs, not one text"),
        ("same", "classify", (["a"],), r"classify of same: input 0 \(from 0\) is no pair of text_a and text_b"),
        ("same", "similar", ([("a", "b"), ("a", 1)],), r"input 1 \(from 0\) is no pair of text_a and text_b"),
        ("intent", "classify", ([("a", "b")],), r"classify of intent: input 0 \(from 0\) is no text"),
        ("intent", "classify", (["a", None],), r"row 1 \(from 0\) has no `text`"),
    ],
)
def test_a_wrong_method_or_input_is_one_sentence_that_names_the_right_one(
    root: Path, name: str, method: str, inputs: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(RetuneError, match=said):
        getattr(retune.load(root / "models" / name), method)(*inputs)


@pytest.mark.slow
def test_a_typed_line_is_labelled_with_the_likeliest_three(root: Path) -> None:
    out, _ = run(root, "ask", "intent", text=f"{TEXTS[2]}\n{TEXTS[0]}\n\n")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["查询", "办理取消"]
    assert lines[0].count(", ") == 2
    out, _ = run(root, "ask", "same", text="花呗怎么还\n花呗怎么还钱\n")
    assert out.startswith("1  (1 0.")


def test_only_an_llm_asks_for_the_folder_of_its_base(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    shutil.rmtree(copy / "models/bases")
    rows = [{"text_a": a, "text_b": b} for a, b in PAIRS]
    assert retune.load(copy / "models/same").predict(rows) == retune.load(root / "models/same").predict(rows)
    spec = copy / "models/same/spec.json"
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"learner": "llm"}))
    said = "models/bases/scratch is missing: `retune pull same` gets it, or `dvc repro download_base@scratch`"
    with pytest.raises(RetuneError, match=said):
        retune.load(copy / "models/same")
