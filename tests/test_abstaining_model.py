"""A model that keeps back what it is not sure of says so wherever it is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import retune
from retune.exports import decisions
from retune.inference import Model
from retune.serve import close_calls
from retune.web import asking
from retune.web.loaded import Loaded
from tests.support import inference_project
from tests.support.command_line import run
from tests.support.inference_project import LABELS, PAIRS, TEXTS
from tests.support.served import Service

pytestmark = pytest.mark.slow

UNSURE = "随便说说"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inference_project.project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def intent(root: Path) -> Model:
    """It keeps back the text that it is less sure of, and takes it for one of no label."""
    return abstaining(root, "intent", 0.5, none_below=0.45)


def abstaining(root: Path, name: str, below: float, **more: float) -> Model:
    file = next(root.glob(f"data/calibrations/*/{name}.json"))
    fitted = json.loads(file.read_text()) | {"abstain_below": below, **more}
    return replace(retune.load(root / "models" / name), fitted=fitted)


def test_a_label_kept_back_is_null_beside_what_it_would_be(root: Path, intent: Model) -> None:
    plain = retune.load(root / "models/intent").predict([{"text": text} for text in (TEXTS[0], UNSURE)])
    assert plain[1]["probability"] < 0.45 < 0.5 < plain[0]["probability"]
    found = intent.classify([TEXTS[0], UNSURE])
    sure = {"label": LABELS[0], "probability": plain[0]["probability"]}
    assert found[0] == sure | {"abstained": False, "would_be": LABELS[0], "none_of_these": False}
    unsure = {"label": None, "probability": plain[1]["probability"]}
    assert found[1] == unsure | {"abstained": True, "would_be": plain[1]["label"], "none_of_these": True}
    assert "abstained" not in plain[0], "a task without the key says nothing of it"
    rows = intent.predict([{"text": UNSURE}])
    assert {name: rows[0][name] for name in plain[1] if name != "label"} == {
        name: value for name, value in plain[1].items() if name != "label"
    }


def test_the_threshold_of_a_pair_decides_and_its_probability_is_what_counts(root: Path) -> None:
    plain = retune.load(root / "models/same").similar(PAIRS)
    below = sorted(row["probability"] for row in plain)[1]
    found = abstaining(root, "same", below).similar(PAIRS)
    assert [row["would_be"] for row in found] == [row["label"] for row in plain]
    assert [row["abstained"] for row in found] == [row["probability"] < below for row in plain]
    assert sum(row["abstained"] for row in found) == 1
    one = abstaining(root, "same", 2.0).align(*PAIRS[0])
    assert (one["label"], one["abstained"], one["would_be"]) == (None, True, plain[0]["label"])


def test_an_answer_without_a_label_is_kept_back_and_would_be_none() -> None:
    given = pl.DataFrame({"prob_0": [None, 0.9], "prob_1": [None, 0.1], "truncated": [False, False]})
    found = decisions.decide(given, {"temperature": 1.0, "abstain_below": 0.5}, ["a", "b"])
    assert found.select("label", "abstained", "would_be").rows() == [(None, True, None), ("a", False, "a")]


def test_a_file_and_a_question_say_so(root: Path, tmp_path: Path) -> None:
    file = root / "data/calibrations/classification/intent.json"
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | {"abstain_below": 0.5}))
    try:
        new = tmp_path / "new.csv"
        new.write_text(f"id,text\n1,{TEXTS[0]}\n2,{UNSURE}\n3,\n")
        out, said = run(root, "predict", "intent", str(new), "--column", "text=text", "--format", "jsonl")
        lines = [json.loads(line) for line in out.splitlines()]
        assert [(line["label"], line["abstained"]) for line in lines] == [
            (LABELS[0], False), (None, True), (None, None)
        ]  # fmt: skip
        assert lines[1]["would_be"] in LABELS
        assert "3 records, 1 without a prediction, 0 cut to the model's length, 1 not sure enough for a label" in said
        out, _ = run(root, "ask", "intent", UNSURE)
        assert out.startswith(f"unsure: it would be {lines[1]['would_be']}  (")
        out, _ = run(root, "ask", "intent", UNSURE, "--json")
        assert json.loads(out) | {"label": None, "abstained": True, "would_be": lines[1]["would_be"]} == json.loads(out)
    finally:
        file.write_text(before)


def test_routes_say_so(root: Path, intent: Model) -> None:
    service = Service(intent, abstaining(root, "same", 2.0))
    try:
        found = service.post("/classify", {"texts": [TEXTS[0], UNSURE], "model": "intent"})["results"]
        assert [(one["label"], one["abstained"]) for one in found] == [(LABELS[0], False), (None, True)]
        assert found[1]["none_of_these"] is True
        asked = {"state": UNSURE, "questions": {"what": {"type": "choice", "criteria": dict.fromkeys(LABELS)}}}
        answer = service.post("/v1/systemone", asked | {"model": "intent"})["answers"]["what"]
        assert (answer["label"], answer["would_be"]) == (None, found[1]["would_be"])
        (one,) = service.post("/similar", {"pairs": [PAIRS[0]], "model": "same"})["results"]
        assert (one["label"], one["abstained"]) == (None, True)
        said = service.post("/align", {"question": PAIRS[0][0], "chunk": PAIRS[0][1], "model": "same"})
        assert (said["label"], said["abstained"]) == (None, True)
    finally:
        service.close()


def test_a_probability_near_the_cut_is_a_close_call(intent: Model) -> None:
    (row,) = intent.predict([{"text": TEXTS[0]}])
    far = close_calls.margin(row, LABELS, {})
    near = close_calls.margin(row, LABELS, {"abstain_below": row["probability"] + 1e-5})
    assert near == pytest.approx(1e-5)
    assert near < far


def test_the_page_shows_what_it_would_be(intent: Model) -> None:
    shown = asking.ask(Loaded(intent), {"text": UNSURE}, [], "en")
    (would_be,) = [one["would_be"] for one in intent.classify([UNSURE])]
    assert "<strong>Unsure</strong>" in shown.html
    assert f"{would_be} " in shown.html
    assert "Probably none of these labels" in shown.html
    sure = asking.ask(Loaded(intent), {"text": TEXTS[0]}, [], "en")
    assert f"<strong>{LABELS[0]}</strong>" in sure.html
