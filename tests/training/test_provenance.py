"""Provenance in a model's folder: what its bytes depend on, and where that differs from the machine that loads it."""

from __future__ import annotations

import json
import logging
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retune import inference, learners
from retune.params import Params
from retune.pipeline import fingerprint
from retune.training import provenance
from tests.support import ROOT
from tests.support.encoder_fit import fit, load, spec_of
from tests.support.tiny_encoder import tiny_encoder

LEARNERS = [
    (learner, kind)
    for learner, packages in learners.MODULES.items()
    for kind in ("pair", *(kind for kind in packages if kind))
]
CODE = fingerprint.Code(ROOT)


@pytest.mark.parametrize(("learner", "kind"), LEARNERS)
def test_the_packages_of_a_model_are_those_that_count_in_its_stages_fingerprints(learner: str, kind: str) -> None:
    entry = {"learner": learner, "kind": kind}
    train, predict = (
        set(CODE.contents(fingerprint.roots(stage, entry)).packages) for stage in ("train", "predict")
    )  # fmt: skip
    both, fitted_by = map(set, provenance.PACKAGES[learners.package(Params(entry))])
    assert both | fitted_by == train
    assert both == train & predict


def test_every_learner_has_its_packages() -> None:
    assert set(provenance.PACKAGES) == {name for table in learners.MODULES.values() for name in table.values()}


def test_bits_and_kernels_of_others_are_named_where_they_compute() -> None:
    assert provenance._named("llm", Params(quantization={"bits": 4}), None)[-1] == "bitsandbytes"
    assert provenance._named("llm", Params(quantization={"bits": 16}), "flash_attention_2")[-1] == "flash-attn"


def test_an_encoders_machine_is_what_it_ran_on(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tiny_encoder(base)
    spec = spec_of(epochs=1, max_rows=32, eval_steps=2)
    _, training = fit("encoder", base, tmp_path, spec)
    found = provenance.of("classifier", spec, {"a": "b"}, training.took)
    machine = found["machine"]
    assert machine.pop("instructions")
    assert machine == {"device": "cpu", "dtype": "float32", "attention": "eager", "threads": 1, "processes": 1}
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["data"] == {"a": "b"}
    predictor = load("encoder", tmp_path / "model")
    provenance.write(tmp_path / "model", found)
    assert provenance.warning(tmp_path / "model", "classifier", predictor) is None
    half = load("encoder", tmp_path / "model", "bfloat16")
    said = provenance.warning(tmp_path / "model", "classifier", half)
    assert said
    assert said.endswith("so its answers may differ: dtype float32 (here bfloat16)")


def model(folder: Path, **change: Any) -> Path:
    """A model's folder with the provenance of this machine, but for what `change` puts into its parts."""
    took = {"device": "cpu", "dtype": "float32", "threads": 1, "instructions": "AVX2", "seconds": 3.0}
    found = provenance.of("classifier", Params(), {"rows": "1"}, took)
    for part, values in change.items():
        found[part] |= values
    folder.mkdir()
    provenance.write(folder, found)
    return folder


PREDICTOR = SimpleNamespace(chosen=SimpleNamespace(machine={"device": "cpu", "dtype": "float32", "threads": 8}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"packages": {"torch": "1.0"}}, f"torch 1.0 (here {metadata.version('torch')})"),
        ({"packages": {"flash-attn": "2.8"}}, "flash-attn 2.8 (here none)"),
        ({"machine": {"device": "cuda", "dtype": "bfloat16"}}, "device cuda (here cpu), dtype bfloat16 (here float32)"),
    ],
)
def test_what_can_change_answers_is_said_in_one_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    found = provenance.warning(model(tmp_path / "mine", **change), "classifier", PREDICTOR)
    assert found == f"mine was built otherwise than it is used here, so its answers may differ: {said}"


@pytest.mark.parametrize(
    "change", [{}, {"packages": {"scipy": "1.0"}}, {"machine": {"threads": 4, "instructions": "AVX512"}}]
)
def test_nothing_is_said_of_what_cannot(tmp_path: Path, change: dict[str, Any]) -> None:
    assert provenance.warning(model(tmp_path / "mine", **change), "classifier", PREDICTOR) is None


@pytest.mark.parametrize("content", [None, "", "[1]", "{}"])
def test_a_folder_without_provenance_is_fine(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / provenance.FILE).write_text(content)
    assert provenance.warning(tmp_path, "classifier", PREDICTOR) is None


def test_threads_beside_a_gpu_are_not_part_of_a_model() -> None:
    took = {"device": "cuda", "gpu": "H200", "threads": 16, "dtype": "bfloat16"}
    assert provenance.of("llm", Params(), {}, took)["machine"] == {
        "device": "cuda", "gpu": "H200", "dtype": "bfloat16"
    }  # fmt: skip


def test_loading_says_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "models/mine"
    (tmp_path / "models/bases/b").mkdir(parents=True)
    (tmp_path / "data/calibrations/t").mkdir(parents=True)
    (tmp_path / "data/calibrations/t/mine.json").write_text('{"temperature": 1.0}')
    model(folder, packages={"torch": "1.0"})
    spec = {"task": "t", "kind": "classification", "learner": "encoder", "base": "b", "labels": ["x", "y"]}
    (folder / "spec.json").write_text(json.dumps(spec))
    monkeypatch.setattr(learners, "load", lambda *_: PREDICTOR)
    with caplog.at_level(logging.WARNING, "retune"):
        inference.load(folder)
    assert [record.getMessage().rpartition(": ")[2].partition(" (")[0] for record in caplog.records] == ["torch 1.0"]
