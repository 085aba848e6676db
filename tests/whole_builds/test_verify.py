"""`retune verify` and `retune provenance` on a small clone: real stages, held to what they declare."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.support.project import Project

pytestmark = pytest.mark.slow

RETUNE = ("python", "-m", "retune.cli")


def test_a_model_is_rebuilt_to_the_same_bytes(project: Project) -> None:
    before = project.run("git", "status", "--short")
    said = project.run(*RETUNE, "verify", "similarity_linear")
    assert "11 outputs: all have the same bytes as in dvc.lock" in said
    assert project.run("git", "status", "--short") == before
    assert "up to date" in project.run("dvc", "status", "train@similarity_linear", "evaluate@similarity_linear")


def test_the_provenance_of_a_model_has_the_hashes_of_dvc(project: Project) -> None:
    entry = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]["train@similarity_embedder"]
    made = json.loads((project.folder / "models/similarity_embedder/provenance.json").read_text())
    deps = {dep["path"]: dep["md5"] for dep in entry["deps"]}
    notes = ("resolved/", "data/lessons/", "data/starts/")  # that it has no teacher and no start, here
    assert made["data"] == {path: md5 for path, md5 in deps.items() if not path.startswith(notes)}
    found = json.loads(project.run(*RETUNE, "provenance", "similarity_embedder", "--json"))
    assert (found["state"], found["same_data"], found["commit"]["subject"]) == ("same", True, "built")
    assert (found["machine"]["threads"], found["machine"]["dtype"], found["seed"]) == (1, "float32", 42)
    assert found["run"]["seconds"] > 0
