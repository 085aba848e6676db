"""What one clone built serves another one through a remote: models that predict, variants that are not built again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.project import RUNNING, Project

pytestmark = pytest.mark.slow

ROWS = "sentence1,sentence2\n花呗怎么还款,花呗如何还款\n借呗利息,花呗额度\n"


@pytest.fixture
def remote(project: Project, tmp_path: Path) -> Path:
    """A folder to which the built project pushed."""
    project.run("dvc", "remote", "add", "-q", "--default", "team", str(tmp_path / "remote"))
    project.run("python", "-m", "retune.cli", "push")
    project.commit("shared")
    return tmp_path / "remote"


def cloned(project: Project, folder: Path) -> Project:
    """Another clone, with an empty cache and the data that Git does not keep."""
    project.run("git", "clone", "-q", str(project.folder), str(folder))
    shutil.copytree(project.folder / "data/external", folder / "data/external", dirs_exist_ok=True)
    return Project(folder)


def test_models_that_were_pulled_alone_predict(project, remote, tmp_path):
    clone = cloned(project, tmp_path / "clone")
    for place in (project, clone):
        (place.folder / "new.csv").write_text(ROWS, encoding="utf-8")
    for model in ("similarity_embedder", "similarity_llm"):
        clone.run("python", "-m", "retune.cli", "pull", model)
        mapped = ("--column", "text_a=sentence1", "--column", "text_b=sentence2")
        for place in (project, clone):
            place.run("python", "-m", "retune.cli", "predict", model, "new.csv", "--out", f"{model}.csv", *mapped)
        found = (clone.folder / f"{model}.csv").read_bytes()
        assert found == (project.folder / f"{model}.csv").read_bytes()
    assert not (clone.folder / "data/splits").exists()
    assert [folder.name for folder in (clone.folder / "models/bases").iterdir()] == ["llm"]


def test_a_variant_that_another_clone_pushed_runs_no_stage_but_resolve_and_report(project, remote, tmp_path):
    clone = cloned(project, tmp_path / "clone")
    for place in (project, clone):
        place.edit("params.yaml", "  intent_linear:\n", "  intent_linear:\n    linear: {c: 0.1}\n")
    assert "train@intent_linear" in project.repro()
    project.run("python", "-m", "retune.cli", "push")
    said = clone.run("python", "-m", "retune.cli", "repro", "--pull")
    assert set(RUNNING.findall(said)) == {"resolve", "report"}
    assert re.search(r"\d+ stages taken from team \(.*\), 1 to build", said)
    metrics = "reports/metrics/intent_linear.json"
    assert (clone.folder / metrics).read_bytes() == (project.folder / metrics).read_bytes()
    assert clone.repro() == []
