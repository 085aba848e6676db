"""The stage `predict`: one call for both splits, a table of each, and what else an LLM is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from retune import learners, run_record
from stages.predict import predict
from tests.support.scoring_project import dump
from tests.support.stage_run import run

pytestmark = pytest.mark.slow

IDS = {"calibration": ["c0", "c1", "c2"], "test": ["t0", "t1", "t2", "t3", "t4"]}


class Recorder:
    """A predictor that notes the ids it was asked for; the input of `c1` is cut."""

    written, seconds = 12, 2.0

    def __init__(self, thinks: bool) -> None:
        self.thinks, self.asked = thinks, dict[str, list[list[str]]]()

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        found = self._note("predict", rows).with_columns(
            label=pl.lit("1"), prob_0=0.25, prob_1=0.75, truncated=pl.col("id") == "c1"
        )
        return found.with_columns(generated=pl.lit("<think>")) if self.thinks else found

    def generate(self, rows: pl.DataFrame) -> pl.DataFrame:
        return self._note("generate", rows).with_columns(generated=pl.lit("是"))

    def sample(self, rows: pl.DataFrame) -> pl.DataFrame:
        return self._note("sample", rows).with_columns(samples=pl.lit(2))

    def _note(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        self.asked.setdefault(name, []).append(rows["id"].to_list())
        return rows.select("id")


def predicted(
    folder: Path, patch: pytest.MonkeyPatch, evaluation: dict[str, Any], generation: dict[str, Any]
) -> tuple[Recorder, dict[str, pl.DataFrame]]:
    """Run the stage on a made project; the predictor, and the tables by split."""
    patch.chdir(folder)
    spec = {"task": "same", "kind": "pair", "learner": "llm", "base": "llm", "hardware": {}}
    given = {"limit": None, "hardware": {}, **evaluation, "generation": generation}
    resolved = {
        "seed": 1, "code": {}, "models": {"m": spec}, "predictions": {"m": given}, "tasks": {"same": {}},
    }  # fmt: skip
    dump(Path("params-resolved.json"), resolved)
    Path("models/m").mkdir(parents=True)
    dump(Path("models/m/spec.json"), spec)
    Path("data/splits/same").mkdir(parents=True)
    for split, ids in IDS.items():
        frame = pl.DataFrame({"id": ids, "text_a": ids, "text_b": ids, "label": [0] * len(ids)})
        frame.write_parquet(f"data/splits/same/{split}.parquet")
    recorder = Recorder(thinks=bool(generation.get("thinking")))
    patch.setattr(learners, "load", lambda *_: recorder)
    run(predict, "m")
    return recorder, {split: pl.read_parquet(f"data/predictions/same/m/{split}.parquet") for split in IDS}


def test_both_splits_are_predicted_in_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder, tables = predicted(tmp_path, monkeypatch, {}, {})
    assert recorder.asked == {"predict": [IDS["calibration"] + IDS["test"]]}
    assert {split: table["id"].to_list() for split, table in tables.items()} == IDS
    assert "calibration: 1 of 3 inputs were longer than max_length and cut" in capsys.readouterr().err
    found = run_record.read("predict", "m", Path("data/predictions/same/m/test.parquet").read_bytes())
    assert (found["rows"], found["tokens_per_second"]) == (8, 6.0)


def test_a_limit_is_of_the_test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, tables = predicted(tmp_path, monkeypatch, {"limit": 2}, {})
    assert tables["calibration"]["id"].to_list() == IDS["calibration"]
    assert len(tables["test"]) == 2
    assert set(tables["test"]["id"]) < set(IDS["test"])


def test_some_test_rows_are_answered_in_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, tables = predicted(tmp_path, monkeypatch, {"generate_rows": 2}, {})
    assert tables["test"]["id"].to_list() == IDS["test"]
    assert tables["test"].filter(pl.col("generated").is_not_null())["id"].to_list() == recorder.asked["generate"][0]
    assert len(recorder.asked["generate"][0]) == 2
    assert "generated" not in tables["calibration"].columns


def test_a_model_that_thinks_answers_some_test_rows_several_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"thinking": True, "samples": 3, "sample_rows": 2}
    recorder, tables = predicted(tmp_path, monkeypatch, {}, options)
    assert tables["test"].filter(pl.col("samples").is_not_null())["id"].to_list() == recorder.asked["sample"][0]
    assert len(recorder.asked["sample"][0]) == 2
