"""Encoders, embedders and rerankers as ONNX: opened by onnxruntime alone, and 8 bits only where they are no worse."""

from __future__ import annotations

import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import f1_score
from transformers import BertConfig, BertModel

import retune
from retune import exports, learners
from retune.data import labels
from retune.errors import RetuneError
from retune.exports import folder as folders
from retune.exports import onnx_encoder, onnx_graph, parity, quality
from retune.exports.decisions import decide
from retune.exports.protocol import PLAIN, Built
from retune.params import Params, loads
from retune.pipeline import fingerprint
from stages.export import export
from tests.support import exported, stage_run

pytestmark = [
    pytest.mark.slow,
    *(pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed") for name in onnx_graph.NEEDS),
]

KINDS = exported.kinds()
NAMES = ("pooler", "mean of a text", "embedder", "retriever", "reranker")
WRITE = onnx_graph.write
MEASURED = {"kind": "pair", "labels": ["0", "1"], "bootstrap": 200, "confidence": 0.95, "seed": 0}


def scripted(model: Any, given: dict[str, torch.Tensor], output: str, file: Path) -> None:
    """The graph by torch's older exporter, in a tenth of the time; the one in use has a test of its own."""
    axes = {name: {0: "rows", 1: "tokens"} for name in given} | {output: {0: "rows", 1: "tokens"}}
    if output == onnx_encoder.LOGITS:
        del axes[output][1]
    file.parent.mkdir(exist_ok=True)
    with onnx_graph._quiet():
        torch.onnx.export(
            onnx_graph.OneOutput(model.eval(), output), tuple(given.values()), file, dynamo=False,
            input_names=list(given), output_names=[output], dynamic_axes=axes,
        )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick() -> Any:
    """All tests of this module but those that ask for the exporter itself."""
    with patch.object(onnx_graph, "write", scripted):
        yield


@pytest.fixture(scope="module")
def folders_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name of KINDS -> its built model and its export in float32, made once."""
    made: dict[str, tuple[Built, Path]] = {}

    def of(name: str) -> tuple[Built, Path]:
        if name not in made:
            place = tmp_path_factory.mktemp("built")
            built = exported.model(place, *KINDS[name])
            built.given["onnx"] = "float32"
            made[name] = built, written(built, place / "exported")
        return made[name]

    return of


def written(built: Built, out: Path) -> Path:
    out.mkdir()
    folders.write_card(built, onnx_encoder.write(built, out), out)
    return out


def proved(built: Built, out: Path, rows: pl.DataFrame) -> dict[str, Any]:
    with patch.object(parity, "answers", exported.answers):
        return parity.prove(built, exports.of(learners.package(built.spec), True), out, rows)


@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_and_tokenizers_alone_answer_as_the_model(folders_of, name):
    built, out = folders_of(name)
    found = proved(built, out, KINDS[name][1])
    assert found["rows"] == 64
    assert found["loader"].startswith("onnxruntime ")
    assert found["largest_difference"] < 1e-5
    assert found["equal_decisions"] == 1.0
    assert not (out / "model.safetensors").exists()


@pytest.mark.parametrize("name", NAMES)
def test_retune_load_answers_as_the_model_in_its_project(folders_of, name):
    built, out = folders_of(name)
    rows = KINDS[name][1].head(9)
    own = learners.load(built.spec, built.folder, built.base, PLAIN)
    model = retune.load(out)
    found, right = model.predict(rows), own.predict(rows)
    if built.spec.kind == "ranking":
        assert np.allclose(found["score"], right["score"], atol=1e-5)
    else:
        decided = decide(right, built.fitted, built.spec.labels)
        assert found["label"].to_list() == decided["label"].to_list()
        assert np.allclose(found["probability"], decided["probability"], atol=1e-5)
    if built.spec.learner == "embedder":
        texts = ["花呗怎么还款", "借呗"]
        with patch.object(model.predictor, "model", own.model):
            torch_vectors = model.embed(texts)
        assert np.allclose(model.embed(texts), torch_vectors, atol=1e-5)


def test_the_same_weights_give_the_same_bytes_for_rows_of_any_shape(tmp_path):
    shape = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 1}
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=90, initializer_range=0.2, **shape), add_pooling_layer=False).eval()
    read = {name: torch.ones((3, 9), dtype=torch.long) for name in onnx_graph.INPUTS[:2]}
    files = []
    for turn in ("a", "b"):
        (tmp_path / turn).mkdir()
        whole, small = tmp_path / turn / "model.onnx", tmp_path / turn / "small.onnx"
        WRITE(model, read, onnx_encoder.STATES, whole)
        shutil.copy(whole, small)
        onnx_graph.quantise(small)
        files.append((whole, small))
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
    assert str(Path(torch.__file__).parent).encode() not in files[0][0].read_bytes()
    for rows, width in ((1, 2), (5, 40)):
        ids = torch.randint(1, 90, (rows, width))
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        given["attention_mask"][0, width // 2 :] = 0
        right = model(**given).last_hidden_state.detach().numpy()
        for file, near in zip(files[0], (1e-5, 0.3), strict=True):
            asked = {name: value.numpy() for name, value in given.items()}
            (found,) = onnx_graph.session(file, 1).run(None, asked)
            assert found.shape == right.shape
            assert np.abs(found - right).max() < near


def test_a_changed_weight_is_named(folders_of, tmp_path):
    import onnx

    built, out = folders_of("reranker")
    broken = tmp_path / "broken"
    shutil.copytree(out, broken)
    file = broken / onnx_graph.FILE
    graph = onnx.load(file)
    weight = next(one for one in graph.graph.initializer if len(one.dims) == 2 and one.dims[0] == one.dims[1] == 32)
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 3, weight.name))
    onnx.save(graph, file)
    with pytest.raises(RetuneError) as raised:
        proved(built, broken, KINDS["reranker"][1])
    assert f"in the weights: {weight.name} of onnx/model.onnx is the model's times 3" in str(raised.value)
    assert "small as onnx answers" in str(raised.value)


@pytest.mark.parametrize("wrong", [3, 40])
def test_8_bits_are_handed_on_only_where_they_are_no_worse_than_chance(folders_of, tmp_path, wrong):
    built, _ = folders_of("embedder")
    rows = pl.DataFrame(
        {"id": [f"r{i}" for i in range(120)], "group": [f"g{i}" for i in range(120)], "text_a": "a", "text_b": "b"}
    ).with_columns(label=pl.Series([0, 1] * 60, dtype=pl.Int8))
    gold = rows["label"].to_numpy()
    light = np.where(np.arange(120) < wrong, 1 - gold, gold)
    whole = np.where(np.arange(120) >= 119, 1 - gold, gold)
    table = [np.stack([0.9 - 0.8 * said, 0.1 + 0.8 * said], axis=1) for said in (light, whole)]
    predicted = labels.predictions(rows["id"], np.log(table[1]), ["0", "1"], np.zeros(120, dtype=bool))
    (tmp_path / "export.json").write_text(
        json.dumps({"opener": "onnx_encoder", "dtype": "int8", "calibration": {"temperature": 1.0, "threshold": 0.5}})
    )
    given = loads(json.dumps({**built.given, "evaluation": MEASURED}))
    spec = Params({**built.spec, "training": Params(truncation="end")})
    made = Built("small", built.folder, built.base, spec, {"temperature": 1.0, "threshold": 0.5}, given, {})
    with (
        patch.object(parity, "answers", lambda *_: {"answers": table[0].tolist()}),
        patch.object(learners, "load", lambda *_: SimpleNamespace(predict=lambda _: predicted)),
    ):
        if wrong == 40:
            with pytest.raises(RetuneError, match=r"small is worse with 8-bit weights: f1 0.6667 in int8, 0.99"):
                quality.prove(made, tmp_path, rows, {"form": "onnx"})
            return
        said = quality.prove(made, tmp_path, rows, {"form": "onnx"})
    assert said["equal_decisions"] == pytest.approx(116 / 120)
    assert said["largest_difference"] == pytest.approx(0.8)
    found = said["quality"]
    assert found["int8"] == pytest.approx(f1_score(gold, light))
    assert found["float32"] == pytest.approx(f1_score(gold, whole))
    assert found["difference"] == pytest.approx(found["int8"] - found["float32"])
    assert found["low"] < found["difference"] < found["high"]
    # of the 4 rows that they answer otherwise, the sums over all 16 swaps: 3 wrong against 1, or a larger gap
    assert found["p"] == pytest.approx(10 / 16, abs=0.12)
    assert (found["rows"], found["groups"], found["metric"]) == (120, 120, "f1")


def test_the_stage_measures_8_bits_and_the_card_says_so(folders_of, tmp_path, monkeypatch):
    import onnx

    built, _ = folders_of("pooler")
    for place in ("models/bases", "data/splits/t", "data/calibrations/t", "reports/metrics"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "models/small").symlink_to(built.folder)
    (tmp_path / "models/bases/encoder").symlink_to(built.base)
    rows = KINDS["pooler"][1]
    rows.write_parquet(tmp_path / "data/splits/t/calibration.parquet")
    (tmp_path / "data/calibrations/t/small.json").write_text(json.dumps(built.fitted))
    (tmp_path / "reports/metrics/small.json").write_text(json.dumps({"test": exported.METRICS}))
    given = {**built.given, "model": "small", "task": "t", "base": "encoder", "onnx": "int8", "evaluation": MEASURED}
    resolved = {"seed": 0, "code": {}, "predictions": {}, "exports": {"handed": given}}
    (tmp_path / "params-resolved.json").write_text(json.dumps(resolved))
    monkeypatch.chdir(tmp_path)
    with patch.object(parity, "answers", exported.answers):
        stage_run.run(export, "handed")
    found = json.loads((tmp_path / "reports/metrics/parity/handed.json").read_text())
    assert found["in_float32"]["largest_difference"] < 1e-5 < found["largest_difference"]
    assert (found["dtype"], found["quality"]["metric"], found["quality"]["rows"]) == ("int8", "f1", 64)
    own = learners.load(built.spec, built.folder, built.base, PLAIN).predict(rows)
    decided = decide(own, built.fitted, ["0", "1"])["label"].cast(pl.Int8)
    assert found["quality"]["float32"] == pytest.approx(f1_score(rows["label"], decided))
    card = (tmp_path / "exports/handed/README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path / "exports/handed")
    exec(code, said := {})
    assert np.isfinite(said.get("logits", said.get("states"))).all()
    assert f"f1 {found['quality']['int8']:.4f} in int8, {found['quality']['float32']:.4f} in float32 on 64" in card
    types = {one.data_type for one in onnx.load(tmp_path / "exports/handed/onnx/model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types


def test_without_the_packages_one_sentence_says_what_to_install(folders_of, tmp_path, monkeypatch):
    built, out = folders_of("reranker")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    wanted = r"ONNX needs `onnxruntime`, which is not installed: `pip install -e '.\[onnx\]'`"
    with pytest.raises(RetuneError, match=wanted):
        onnx_encoder.write(built, tmp_path)
    with pytest.raises(RetuneError, match=wanted):
        retune.load(out)


def test_the_stage_runs_other_code_for_onnx():
    entry = {"kind": "pair", "learner": "embedder", "onnx": "int8"}
    assert "retune.exports.openers.onnx_encoder" in fingerprint.roots("export", entry)
    code = fingerprint.Code(Path(retune.__file__).parents[1])
    found = code.contents(fingerprint.roots("export", entry), fingerprint.packages("export", entry))
    assert "retune.evaluation.kinds.pair" in found.modules
    needed = {"onnx", "onnxruntime", "onnx-ir", "onnxscript"}
    assert needed <= found.packages.keys()
    plain = fingerprint.roots("export", {**entry, "onnx": None})
    assert "retune.exports.embedder" in plain
    assert not needed & code.contents(plain, fingerprint.packages("export", {**entry, "onnx": None})).packages.keys()
