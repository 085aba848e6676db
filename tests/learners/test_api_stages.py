"""The stages of a model of the learner `api`: it is measured, and it teaches."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retune.data import lessons
from retune.learners.api import predict as api
from retune.report import inputs
from stages.teach import teach
from tests.support import ROOT, api_model, chat_server, warm_python
from tests.support.api_model import section as model
from tests.support.chat_server import KEY, ChatServer
from tests.support.llm_fit import rows
from tests.support.stage_run import run

pytestmark = pytest.mark.slow

ROWS = rows(24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api_model.trained(tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("trained"))


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with api_model.serving(folder, tmp_path, monkeypatch) as running:
        yield running


def test_the_stages_run_and_count_what_the_model_took(server: ChatServer, tmp_path: Path) -> None:
    splits = tmp_path / "data/splits/similarity"
    splits.mkdir(parents=True)
    for split in ("train", "dev", "calibration", "test"):
        rows(20).with_columns(group=pl.col("id")).write_parquet(splits / f"{split}.parquet")
    (splits / "summary.json").write_text("{}")
    Path("models/bases/scratch").mkdir(parents=True)
    calibration = {"threshold": "f1", "cost_false_positive": 1.0, "cost_false_negative": 1.0, "temperature": True}
    evaluation = {"seed": 1, "bootstrap": 100, "confidence": 0.95, "errors": 2, "limit": None, "generate_rows": 0}
    kind = {"kind": "pair", "labels": ["0", "1"]}
    task = {**kind, "calibration": kind | calibration, "evaluation": kind | evaluation, "models": ["remote"]}
    spec = model(server, price_input=1.0, options={"stop": None})
    resolved = {"seed": 1, "bases": {}, "tasks": {"similarity": task}, "models": {"remote": spec}, "code": {}}
    resolved["predictions"] = {"remote": {"limit": None, "hardware": {}}}
    Path("params-resolved.json").write_text(json.dumps(resolved))
    server.faults = [chat_server.saying("也许")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for stage in ("train", "predict", "calibrate", "evaluate"):
        command = [f"{warm_python.folder()}/python", "-m", f"stages.{stage}", "remote"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    measured = json.loads(Path("reports/metrics/remote.json").read_text())["test"]
    assert (
        measured["unparsed"] + json.loads(Path("data/calibrations/similarity/remote.json").read_text())["unparsed"] > 0
    )
    assert measured["completion_tokens"] == 20
    assert measured["cost"] == pytest.approx(measured["prompt_tokens"] / 1e6)
    assert "zero-shot" in Path("reports/training/remote/messages.json").read_text()
    assert inputs.history(Path("reports/training/remote/plots/metrics")) == {}
    assert all(KEY not in file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file())


def write_teacher(server: ChatServer, folder: Path, **more: Any) -> None:
    """A project whose model `pupil` has the teacher `wise`."""
    student = {"task": "similarity", "kind": "pair", "labels": ["0", "1"], "learner": "api", "base": "scratch"}
    student |= {"teacher": "wise", "hardware": {}, "augmented": True, **more}
    files = {
        "params-resolved.json": {"seed": 0, "code": {}, "students": {"pupil": student}},
        "models/wise/spec.json": model(server),
        "data/calibrations/similarity/wise.json": {"temperature": 3.0, "threshold": 0.5},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "data/splits/similarity").mkdir(parents=True)


def test_it_teaches_each_distinct_row_once_and_its_answers_are_kept(server: ChatServer, tmp_path: Path) -> None:
    write_teacher(server, tmp_path)
    train = pl.concat([ROWS, ROWS.with_columns(pl.col("id") + "+copy")]).with_columns(group="id")
    train.write_parquet(tmp_path / "data/splits/similarity/train.parquet")
    run(teach, "pupil")
    asked, folder = len(server.requests), tmp_path / "data/lessons/pupil/taught"
    distinct = ROWS.unique(["text_a", "text_b"]).height
    assert asked <= distinct + 1, "the first row shows whether log-probabilities are offered"
    found, plain = pl.read_parquet(folder / lessons.LESSONS), api.PromptedEndpoint(model(server)).predict(ROWS)
    assert found["id"].to_list() == train["id"].to_list()
    odds = (plain["prob_1"] / plain["prob_0"]).log() / 3.0
    expected = 1 / (1 + (-odds).exp())
    assert np.allclose(found["lesson"].head(len(ROWS)).list.get(1), expected, atol=1e-6)
    run(teach, "pupil")
    assert len(server.requests) == asked


def test_no_row_of_any_measured_split_is_asked_about(server: ChatServer, tmp_path: Path) -> None:
    table = {"file": "more.csv", "columns": {"text_a": "a", "text_b": "b"}}
    write_teacher(server, tmp_path, unlabelled=[table], unlabelled_rows=None, max_rejects=0.0)
    texts = {"dev": "只在开发集", "calibration": "只在校准集", "test": "只在测试集", "new": "谁也没有的一行"}
    for split in ("train", "dev", "calibration", "test"):
        rows = ROWS.head(4) if split == "train" else ROWS.head(1).with_columns(text_a=pl.lit(texts[split]))
        rows.with_columns(group="id").write_parquet(tmp_path / f"data/splits/similarity/{split}.parquet")
    (tmp_path / "data/raw/similarity").mkdir(parents=True)
    lines = [f"{text},另一句{number}" for number, text in enumerate(texts.values())]
    (tmp_path / "data/raw/similarity/more.csv").write_text("\n".join(["a,b", *lines]), encoding="utf-8")
    run(teach, "pupil")
    asked = json.dumps(server.requests, ensure_ascii=False, default=str)
    assert {name for name, text in texts.items() if text in asked} == {"new"}
