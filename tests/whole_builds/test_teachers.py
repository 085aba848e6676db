"""A student is built behind its teacher; a new teacher builds its students again, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.support.project import RUNNING, Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def taught(built, tmp_path_factory) -> tuple[Project, list[str]]:
    """The small build with a student, its twin being there; and the stages that ran for it."""
    project = Project(built).copy(tmp_path_factory.mktemp("taught") / "project")
    file = project.folder / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    student = {"task": "similarity", "learner": "linear", "base": "scratch", "teacher": "similarity_embedder"}
    params["models"]["similarity_taught"] = student
    file.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    said = project.run("dvc", "repro", fails=True)
    assert "similarity_taught (taught by similarity_embedder)" in said
    assert RUNNING.findall(said) == ["resolve"]
    return project, RUNNING.findall(project.run("retune", "repro", "--jobs", "2"))


def test_the_student_alone_is_built_and_a_second_run_builds_nothing(taught):
    project, ran = taught
    chain = [f"{stage}@similarity_taught" for stage in ("teach", "train", "predict", "calibrate", "evaluate")]
    assert [one for one in ran if "@" in one and not one.startswith(("explore", "export"))] == [
        *chain, "compare@similarity"
    ]  # fmt: skip
    lessons = project.folder / "data/lessons/similarity_taught/taught"
    table = pl.read_parquet(lessons / "lessons.parquet")
    rows = pl.read_parquet(project.folder / "data/splits/similarity/train.parquet")
    assert table["id"].to_list() == rows["id"].to_list()
    record = json.loads((project.folder / "reports/training/similarity_taught/messages.json").read_text())
    assert record["messages"][0].startswith(f"similarity_embedder taught it {len(rows)} of {len(rows)} training rows")
    assert "Teacher: similarity_taught, taught by similarity_embedder, against similarity_linear" in (
        (project.folder / "reports/summary.md").read_text(encoding="utf-8").replace("\\", "")
    )
    assert project.repro() == []


def test_a_new_teacher_builds_its_student_again_and_no_other_model(taught):
    project, _ = taught
    before = Path(project.folder / "models/similarity_taught/model.safetensors").read_bytes()
    file = project.folder / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    params["models"]["similarity_embedder"]["training"]["learning_rate"] = 2e-3
    file.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    ran = project.repro()
    assert {one.partition("@")[2] for one in ran if one.startswith(("train", "teach"))} == {
        "similarity_embedder", "similarity_taught"
    }  # fmt: skip
    assert "teach@similarity_taught" in ran
    assert Path(project.folder / "models/similarity_taught/model.safetensors").read_bytes() != before
