"""Each form of export is opened by its ecosystem's own loader and answers as the model; what breaks it is named."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file, save_file

import retune
from retune import exports, learners
from retune.errors import RetuneError
from retune.exports import embedder, parity
from retune.exports.decisions import decide
from retune.exports.protocol import PLAIN, Built
from tests.support import exported

pytestmark = pytest.mark.slow

KINDS = exported.kinds()
NEURAL = [name for name in KINDS if not name.startswith("linear")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name of KINDS -> its built model and its export, made once."""
    made: dict[str, tuple[Built, Path]] = {}

    def of(name: str) -> tuple[Built, Path]:
        if name.startswith("linear"):
            pytest.importorskip("skops")
        if name not in made:
            place = tmp_path_factory.mktemp("built")
            built = exported.model(place, *KINDS[name])
            made[name] = built, exported.export(built, place / "exported")
        return made[name]

    return of


@pytest.mark.parametrize("name", KINDS)
def test_its_own_loader_answers_as_the_model(folders, name):
    built, out = folders(name)
    found = exported.prove(built, out, KINDS[name][1])
    assert found["rows"] == 64
    assert found["cut"] == 0
    assert found["largest_difference"] < 1e-5
    assert found["equal_decisions"] == 1.0
    assert not list(out.rglob("*.bin"))
    assert not list(out.rglob("*.pkl"))


@pytest.mark.parametrize(("beyond", "passes"), [(3e-5, False), (3e-6, True)])
def test_a_decision_that_rounding_does_not_explain_fails_within_the_tolerance(folders, tmp_path, beyond, passes):
    built, _ = folders("embedder")
    rows = KINDS["embedder"][1].head(64)
    predicted = learners.load(built.spec, built.folder, built.base, PLAIN).predict(rows)
    first = parity.probabilities(predicted, built.spec, built.fitted)[0, 1]
    hangs = dataclasses.replace(built, fitted=built.fitted | {"threshold": float(first + beyond)})
    out = exported.export(hangs, tmp_path / "out")

    def moved(folder: Path, opener: str, asked: pl.DataFrame) -> dict[str, Any]:
        said = exported.answers(folder, opener, asked)
        said["answers"] = [[1 - p - 2 * beyond, p + 2 * beyond] for _, p in said["answers"]]
        return said

    with patch.object(parity, "answers", moved):
        if passes:
            assert parity.prove(hangs, embedder, out, rows)["equal_decisions"] < 1
            return
        with pytest.raises(RetuneError, match=r"but decides .* of 64 otherwise: they hang on more than 1e-05"):
            parity.prove(hangs, embedder, out, rows)


def test_the_architecture_chooses_between_transformers_and_a_cross_encoder(folders):
    forms = {name: json.loads((folders(name)[1] / "export.json").read_text())["form"] for name in NEURAL}
    assert forms["pooler"] == "transformers"
    assert forms["mean of a pair"] == forms["mean of a text"] == "cross-encoder"
    assert json.loads((folders("pooler")[1] / "config.json").read_text())["id2label"] == {"0": "0", "1": "1"}


@pytest.mark.parametrize("name", KINDS)
def test_an_export_answers_alone_as_the_model_in_its_project(folders, name, tmp_path):
    built, out = folders(name)
    rows = KINDS[name][1].head(8)
    alone = retune.load(shutil.copytree(out, tmp_path / "alone"))
    own = learners.load(built.spec, built.folder, built.base, PLAIN).predict(rows)
    found = alone.predict(rows)
    if built.spec.kind in ("ranking", "scoring"):
        assert np.allclose(found["score"], own["score"], atol=1e-5)
        return
    right = decide(own, built.fitted, built.spec.labels)
    assert found["label"].to_list() == right["label"].to_list()
    assert np.allclose(found["probability"], right["probability"], atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_the_lines_of_the_card_run_as_they_are_and_answer_as_the_model(folders, name, monkeypatch):
    built, out = folders(name)
    (code,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(out)
    said: dict[str, Any] = {}
    exec(code, said)
    asked = {"pair": [("one text", "another")], "classification": [("a text",)]}
    asked |= {"ranking": [("a query", "a document"), ("a query", "another document")]}
    asked |= {"scoring": [("a document", "a"), ("a document", "b")]}
    rows = pl.DataFrame(asked[built.spec.kind], schema=list(built.columns), orient="row").with_row_index("id")
    own = learners.load(built.spec, built.folder, built.base, PLAIN).predict(rows.with_columns(pl.col("id").cast(str)))
    if built.spec.kind in ("ranking", "scoring"):
        found = said["scores"] if built.spec.kind == "ranking" else list(said["found"].values())
        assert np.allclose(np.array(found).ravel(), own["score"], atol=1e-5)
        return
    right = decide(own, built.fitted, built.spec.labels)
    assert said.get("label", said.get("labels", [None])[0]) == right["label"][0]
    if built.spec.kind == "pair":
        assert said["probability"] == pytest.approx(right["prob_1"][0], abs=1e-5)


def test_a_linear_model_is_exported_to_the_same_bytes(folders, tmp_path):
    built, out = folders("linear text")
    with ThreadPoolExecutor(1) as other:  # its objects lie elsewhere in memory
        again = other.submit(exported.export, built, tmp_path / "again").result()
    assert (again / "model.skops").read_bytes() == (out / "model.skops").read_bytes()


def test_typed_methods(folders):
    retriever, reranker, pair = (retune.load(folders(name)[1]) for name in ("retriever", "reranker", "embedder"))
    documents = ["花呗的怎么开通", "借呗的怎么还款"]
    query, texts = retriever.embed(["花呗怎么还款"]), retriever.embed(documents, side="document")
    scores = {one["document"]: one["score"] for one in retriever.rerank("花呗怎么还款", documents)}
    assert np.allclose((query @ texts.T)[0], [scores[one] for one in documents], atol=1e-5)
    ranked = reranker.rerank("花呗怎么还款", documents)
    assert ranked[0]["score"] >= ranked[1]["score"]
    assert {one["place"] for one in ranked} == {0, 1}
    assert ranked[0]["relevance"] == pytest.approx(min(max(0.5 * ranked[0]["score"] + 0.2, 0.0), 1.0))
    assert pair.similar([("花呗", "借呗")] * 2)[0] == pair.similar([("花呗", "借呗")])[0]
    assert pair.embed([]).shape == (0, 32)
    assert pair.origin()["parameters"]["task"] == "t"
    with pytest.raises(RetuneError, match="similar is for kind pair, and small is of kind ranking"):
        retriever.similar([("a", "b")])
    with pytest.raises(RetuneError, match="embed is for learner embedder"):
        reranker.embed(["a"])


def edited(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def swapped(out: Path) -> None:
    edited(out / "config.json", id2label={"0": "1", "1": "0"}, label2id={"1": 0, "0": 1})


def scaled(tensor: str, factor: float, file: str = "model.safetensors") -> Any:
    def scale(out: Path) -> None:
        found = load_file(out / file)
        save_file(
            {name: value * (factor if name.startswith(tensor) else 1) for name, value in found.items()}, out / file
        )

    return scale


def without_prefix(out: Path) -> None:
    prompts = json.loads((out / "config_sentence_transformers.json").read_text())["prompts"]
    edited(out / "config_sentence_transformers.json", prompts=prompts | {"query": ""})


def another_tokenizer(out: Path) -> None:
    tokenizer = json.loads((out / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["还"], vocabulary["利"] = vocabulary["利"], vocabulary["还"]
    (out / "tokenizer.json").write_text(json.dumps(tokenizer))


def cut_earlier(out: Path) -> None:
    edited(out / "tokenizer_config.json", model_max_length=8)


def uncalibrated(out: Path) -> None:
    card = json.loads((out / "export.json").read_text())
    edited(out / "export.json", log_odds={name: 1.7 * value for name, value in card["log_odds"].items()})


def skops_changed(change: Any) -> Any:
    def edit(out: Path) -> None:
        from skops.io import dump, load

        model = load(out / "model.skops")
        vectors, last = (model["vectors"], model["labels"]) if isinstance(model, dict) else (model[0], model[-1])
        change(vectors, last)
        dump(model, out / "model.skops")

    return edit


def other_classes(vectors: Any, last: Any) -> None:
    last.classes_ = last.classes_[::-1].copy()


def twice_the_temperature(vectors: Any, last: Any) -> None:
    last.coef_, last.intercept_ = last.coef_ / 2, last.intercept_ / 2


def a_scaled_n_gram(vectors: Any, last: Any) -> None:
    last.coef_[:, : last.coef_.shape[1] // 2] *= 3


def other_n_grams(vectors: Any, last: Any) -> None:
    words = vectors.transformer_list[0][1].vocabulary_
    words |= {word: len(words) - 1 - place for word, place in words.items()}


LAYER = "encoder.layer.1.output.dense.weight"
BROKEN = [
    ("pooler", swapped, "in the labels: 2 of 2 are exchanged; what the model calls 0 is called 1."),
    ("pooler", scaled("classifier", 1.7), "in the calibration: all log-odds are the model's times 1.7."),
    (
        "pooler",
        scaled("bert.pooler.dense.weight", 1.5),
        "in the weights: bert.pooler.dense.weight of model.safetensors",
    ),
    ("pooler", another_tokenizer, "in the tokens: "),
    ("mean of a pair", swapped, "in the labels: 2 of 2 are exchanged; what the model calls 0 is called 1."),
    ("mean of a text", scaled(LAYER, 1.5), f"in the weights: {LAYER} of model.safetensors is the model's times 1.5."),
    ("mean of a text", scaled("linear", 1.7, "2_Dense/model.safetensors"), "all log-odds are the model's times 1.7."),
    ("reranker", scaled(LAYER, 1.5), f"in the weights: {LAYER} of model.safetensors is the model's times 1.5."),
    ("reranker", another_tokenizer, "in the tokens: "),
    ("reranker", cut_earlier, "in the tokens: 64 of 64 rows are read as other ids"),
    ("embedder", without_prefix, "in the template (or the prefix): it lacks the token ids ["),
    ("embedder", uncalibrated, "in the calibration: all log-odds are the model's times 1.7."),
    ("embedder", scaled(LAYER, 1.5), f"in the weights: {LAYER} of model.safetensors is the model's times 1.5."),
    ("retriever", without_prefix, "in the template (or the prefix): it lacks the token ids ["),
    ("retriever", another_tokenizer, "in the tokens: "),
    (
        "linear pair",
        skops_changed(other_classes),
        "in the labels: 2 of 2 are exchanged; what the model calls 0 is called 1.",
    ),
    (
        "linear text",
        skops_changed(twice_the_temperature),
        "in the calibration: all log-odds are the model's times 0.5.",
    ),
    ("linear text", skops_changed(a_scaled_n_gram), "in the weights: coef_ of model.skops differs by "),
    ("linear scores", skops_changed(other_n_grams), "n-grams of model.skops has "),
]


@pytest.mark.parametrize(("name", "breaking", "cause"), BROKEN)
def test_what_breaks_parity_is_named(folders, name, breaking, cause, tmp_path):
    built, out = folders(name)
    broken = shutil.copytree(out, tmp_path / "broken")
    breaking(broken)
    with pytest.raises(RetuneError) as raised:
        exported.prove(built, broken, KINDS[name][1])
    assert cause in str(raised.value)
    assert "small as " in str(raised.value)


def test_rows_that_are_cut_in_the_middle_are_left_out_and_counted(folders):
    built, out = folders("mean of a pair")
    long = pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("花" * 60)).otherwise("text_b")
    found = exported.prove(built, out, KINDS["mean of a pair"][1].with_columns(text_b=long))
    assert found["cut"] == 3
    assert found["rows"] == 61


def test_the_loader_runs_in_a_process_of_its_own_without_retune(folders, tmp_path, monkeypatch):
    built, out = folders("pooler")
    monkeypatch.setenv("PYTHONPATH", str(Path(exports.__file__).parents[2]))
    rows = KINDS["pooler"][1].head(3).select(built.columns)
    assert np.allclose(
        parity.answers(out, "sequence_classifier", rows)["answers"],
        exported.answers(out, "sequence_classifier", rows)["answers"],
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(RetuneError, match="loader skops_classifier can't open empty: "):
        parity.answers(tmp_path / "empty", "skops_classifier", rows)
    for script in parity.OPENERS.glob("[a-z]*.py"):
        assert "retune" not in script.read_text().partition('"""\n\n')[2], script
