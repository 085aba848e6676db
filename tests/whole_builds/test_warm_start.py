"""`training.warm_start`: rows and a label are added, the last version is the start, and so it stays everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.support.project import RUNNING, Project, clone
from tests.support.tiny_encoder import tiny_encoder

pytestmark = pytest.mark.slow

TARGET, ROWS = "evaluate@own_encoder", "data/external/own/rows.csv"
MODEL = [f"{stage}@own_encoder" for stage in ("train", "predict", "calibrate", "evaluate")]
DATA = [f"{stage}@own" for stage in ("download", "convert", "augment", "split")]


def write(file: Path, **sections: object) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8")) | sections
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def out(project: Project, stage: str) -> str:
    """The hash of a stage's first output in dvc.lock."""
    stages = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    return str(stages[stage]["outs"][0]["md5"])


def started(project: Project) -> dict[str, Any]:
    """What the built model tells of its start."""
    found: dict[str, Any] = json.loads((project.folder / "models/own_encoder/provenance.json").read_text())["start"]
    return found


def test_a_start_is_taken_once_and_kept_for_every_later_training(tmp_path):
    project = clone(tmp_path / "project", {"encoder": tiny_encoder(tmp_path / "encoder")})
    rows = project.folder / ROWS
    rows.parent.mkdir(parents=True)
    rows.write_text("文本,类\n" + "".join(f"花呗{n}句,{'咨询' if n % 3 else '投诉'}\n" for n in range(160)))
    tables = [{"file": "rows.csv", "columns": {"text": "文本", "label": "类"}}]
    source = {"kind": "path", "path": "data/external/own", "license": "none", "tables": tables}
    write(project.folder / "data/catalog.yaml", own=source)
    task = {"kind": "classification", "source": "own", "labels": ["咨询", "投诉"]}
    training = {"epochs": 1, "batch_size": 16, "eval_steps": 2, "learning_rate": 1e-3, "warm_start": True}
    model = {"task": "own", "learner": "encoder", "base": "encoder", "training": training}
    write(project.folder / "params.yaml", tasks={"own": task}, models={"own_encoder": model})

    assert "new: own_encoder (warm start)" in project.run("dvc", "repro", TARGET, fails=True)
    assert project.repro(TARGET)[-5:] == ["warm@own_encoder", *MODEL]
    assert started(project)["cold"].startswith("there is no last version")
    first = out(project, "train@own_encoder")

    with rows.open("a") as stream:
        stream.write("".join(f"退吗{n},退款\n" for n in range(40)))
    project.edit("params.yaml", "- 投诉", "- 投诉\n    - 退款")
    said = project.run("dvc", "repro", TARGET)
    assert RUNNING.findall(said) == ["resolve", *DATA, "warm@own_encoder", *MODEL]
    assert said.count(f"Starts warm, from its last version ({first[:7]})") == 2, "by both stages"
    found = started(project)
    assert (found["of"], found["labels"]) == (first, ["退款"])
    assert found["rows"]["then"] == found["rows"]["kept"] > 0 < found["rows"]["added"]
    assert project.repro(TARGET) == []

    kept, warm = out(project, "warm@own_encoder"), out(project, "train@own_encoder")
    project.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.002")
    assert project.repro(TARGET) == ["resolve", *MODEL]
    assert (out(project, "warm@own_encoder"), started(project)) == (kept, found), "not from itself"
    project.edit("params.yaml", "learning_rate: 0.002", "learning_rate: 0.001")
    project.repro(TARGET)
    assert out(project, "train@own_encoder") == warm

    known = json.loads(project.run("python", "-m", "retune.cli", "provenance", "own_encoder", "--json"))
    assert known["same_data"]
    assert "data/starts/own_encoder" in known["data"]
    said = project.run("python", "-m", "retune.cli", "verify", "own_encoder")
    assert "train@own_encoder begins with what was recorded in data/starts/own_encoder/last" in said
    project.commit()
    project.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    project.commit()
    project.run("dvc", "push", "-q")
    project.run("git", "clone", "-q", str(project.folder), str(tmp_path / "other"))
    other = Project(tmp_path / "other")
    shutil.copytree(project.folder / "data/external", other.folder / "data/external", dirs_exist_ok=True)
    other.run("dvc", "pull", "-q", "--with-deps", TARGET)
    assert other.repro(TARGET) == []
    other.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.002")
    other.repro(TARGET)
    assert started(other) == found

    text = pl.read_parquet(project.folder / "data/splits/own/train.parquet")["text"][0]
    rows.write_text("".join(line for line in rows.read_text().splitlines(keepends=True) if line.split(",")[0] != text))
    project.repro(TARGET)
    assert "1 are no training rows any more" in started(project)["cold"]
