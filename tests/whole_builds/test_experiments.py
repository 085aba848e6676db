"""Experiments where teams have projects: a subfolder of a larger repository, names of other scripts, a worktree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.project import Project, clone

pytestmark = pytest.mark.slow

RETUNE = ("python", "-m", "retune.cli")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One linear model in a subfolder of a repository, built and committed; the cache has an ASCII name."""
    outer = tmp_path_factory.mktemp("experiments") / "仓库 of a team"
    project = clone(outer / "意图 task", {})
    shutil.rmtree(project.folder / ".git")
    config = (project.folder / ".dvc/config").read_text(encoding="utf-8")
    shutil.rmtree(project.folder / ".dvc")
    path = project.folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["bases"] = {"scratch": "scratch"}
    params["tasks"] = {"similarity": params["tasks"]["similarity"] | {"size": 200}}
    params["models"] = {"similarity_linear": params["models"]["similarity_linear"]}
    path.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    Project(outer).run("git", "init", "-q", "-b", "main")
    project.run("dvc", "init", "-q", "--subdir")
    (project.folder / ".dvc/config").write_text(config, encoding="utf-8")
    project.run("dvc", "config", "cache.dir", str(outer.parent / "cache of dvc"))
    project.run(*RETUNE, "repro", "--jobs", "1")
    project.commit("built")
    return project


def c_of(folder: Path) -> float:
    """What the model in a workspace was trained with."""
    spec = yaml.safe_load((folder / "models/similarity_linear/spec.json").read_text(encoding="utf-8"))
    return float(spec["linear"]["c"])


def test_variants_run_beside_the_workspace_and_leave_it_as_it_was(built):
    built.edit("README.md", "# ", "# Our ")  # an unclean workspace
    before = built.run("git", "status", "--porcelain")
    assert " M " in before
    said = built.run("dvc", "exp", "run", "--temp", "-n", "beside", "-S", "linear.c=3", "train@similarity_linear")
    assert "Running stage 'train@similarity_linear'" in said
    assert built.run("git", "status", "--porcelain") == before
    assert c_of(built.folder) == 1.0

    shown = built.run("dvc", "params", "diff", "HEAD", "beside")
    changed = [line.split() for line in shown.splitlines() if line.startswith("params")]
    assert changed == [["params.yaml", "linear.c", "1.0", "3"]]  # what a person changed, and nothing else
    built.run("dvc", "exp", "apply", "beside")
    assert c_of(built.folder) == 3.0
    assert "Our" in (built.folder / "README.md").read_text(encoding="utf-8")  # what was not committed is kept
    built.run("dvc", "exp", "branch", "beside", "a-branch")
    assert "a-branch" in built.run("git", "branch")


def test_a_worktree_runs_no_stage_that_was_built(built):
    tree = Project(built.folder.parent.parent / "分支 tree")
    built.run("git", "worktree", "add", "-q", "-f", str(tree.folder), "main")
    inside = Project(tree.folder / built.folder.name)
    inside.run("dvc", "checkout")
    assert inside.repro() == []
