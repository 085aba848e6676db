"""Plain generation beside label scoring: the same model writes its answer, which may name no label."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from retune.evaluation.counts import generated, spent
from retune.learners.llm.fit import fit as fit_llm
from retune.learners.llm.predict import load as load_llm
from retune.llm.predictor import PromptedLlm
from tests.support import tiny_llm
from tests.support.llm_fit import rows, spec_of

FRAME = rows(12)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llm.tiny_llm(tmp_path_factory.mktemp("base"))


def predictor(base: Path, folder: Path, epochs: float) -> PromptedLlm:
    spec = spec_of(training__epochs=epochs, training__truncation="end")
    (folder / "spec.json").write_text(json.dumps(spec))
    if epochs:
        fit_llm(spec, rows(48), rows(8), base, folder, folder / "scratch")
    return load_llm(folder, base, spec.hardware)


@pytest.mark.slow
def test_a_trained_model_writes_the_label_that_it_scores_highest(base: Path, tmp_path: Path) -> None:
    model = predictor(base, tmp_path, epochs=5)
    scored = model.predict(FRAME)
    written = model.generate(FRAME)
    assert written.columns == ["id", "generated", "generated_label"]
    assert set(written["generated"]) == {"是", "否"}
    assert written["generated_label"].to_list() == scored["label"].to_list()


def test_an_untuned_model_may_write_what_names_no_label(base: Path, tmp_path: Path) -> None:
    model = predictor(base, tmp_path, epochs=0)
    written = model.generate(FRAME)
    assert written["generated_label"].null_count() == len(FRAME)
    assert written["generated"].str.len_chars().min() > 2
    assert model.predict(FRAME)["label"].null_count() == 0, "scoring leaves none"


def test_unparsed_texts_are_counted_and_count_as_wrong() -> None:
    joined = pl.DataFrame({"id": list("abcd"), "label": [1, 0, 1, 0]})
    predicted = pl.DataFrame(
        {
            "id": list("dcba"),
            "label": ["0", "0", "0", "1"],
            "generated": ["否", "也许", "否", None],
            "generated_label": ["0", None, "0", None],
        }
    )
    assert generated(joined, predicted) == {
        "generated_rows": 3,
        "generated_unparsed": 1,
        "generated_accuracy": pytest.approx(2 / 3),
        "scored_accuracy": pytest.approx(2 / 3),
    }
    assert generated(joined, predicted.drop("generated", "generated_label")) == {}
    assert spent(predicted) == {}
