"""Trials become experiments of DVC, and the workspace stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.sweep import experiments, search
from retune.sweep.record import Trial
from retune.sweep.search import Options, Sweep
from tests.support import sweep_project, tiny_pipeline

pytestmark = pytest.mark.slow

TRAIN = 'tell(auc=[0.5 + reads["linear"]["c"] / 100])\n'
BUILT = '{"test": {"auc": 0.75}}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that was built and committed, then edited."""
    folder = sweep_project.write(tmp_path / "project", TRAIN)
    (folder / "reports/metrics").mkdir(parents=True)
    for model in ("plain", "cross"):
        (folder / f"reports/metrics/{model}.json").write_text(BUILT)
    (folder / ".gitignore").write_text(".retune\n__pycache__\n")
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "dvc", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "built")
    (folder / "prompts/questions.yaml").write_text((folder / "prompts/questions.yaml").read_text() + "# edited\n")
    return folder


def run(folder: Path, *command: str) -> str:
    return tiny_pipeline.run(folder, *command)


def shown(folder: Path) -> dict[str, dict]:
    """What `dvc exp show` tells, by experiment."""
    (baseline,) = [one for one in json.loads(run(folder, "dvc", "exp", "show", "--json")) if one["rev"] != "workspace"]
    return {one["name"]: one["revs"][0]["data"] for one in baseline["experiments"] or []}


def test_trials_are_seen_by_dvc_with_values_and_dev_metrics_and_the_workspace_stays(folder: Path):
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    before, status = {path: path.read_bytes() for path in files}, run(folder, "git", "status", "--porcelain")
    found = search.sweep(folder, "plain", ["linear.c=2,3"], Options(by="grid"))
    assert experiments.keep(folder, found) == ["plain-2", "plain-1"]
    assert run(folder, "git", "status", "--porcelain") == status
    assert {path: path.read_bytes() for path in before} == before
    told = shown(folder)
    assert set(told) == {"plain-1", "plain-2"}
    data = told["plain-2"]
    assert data["params"]["params.yaml"]["data"]["models"]["plain"]["linear"]["c"] == 3
    metrics = {name: one.get("data") for name, one in data["metrics"].items()}
    assert metrics["reports/metrics/plain.json"] == {"dev": {"auc": 0.53}}, "no test metric of what was built"
    assert metrics["reports/metrics/cross.json"] == json.loads(BUILT)
    assert "# edited" in run(folder, "git", "show", f"{data['rev']}:prompts/questions.yaml")
    assert (
        json.loads(run(folder, "git", "show", f"{data['rev']}:params-resolved.json"))["models"]["plain"]["linear"]["c"]
        == 3
    )
    run(folder, "dvc", "exp", "remove", "plain-1", "plain-2")
    assert shown(folder) == {}


def test_a_later_study_takes_the_place_of_the_one_before_and_of_nobody_else(folder: Path):
    space = search.check(folder, "plain", ["linear.c=2,3"], Options(by="grid"))[0]
    trials = [Trial(n, {"linear.c": n + 1}, "done", 0.5, metrics={"auc": 0.5}) for n in (1, 2)]
    experiments.keep(folder, Sweep("s", "plain", "auc", space, trials, {}))
    experiments.keep(folder, Sweep("s", "plain", "auc", space, trials[:1], {}))
    assert set(shown(folder)) == {"s-1"}
    head = run(folder, "git", "rev-parse", "HEAD").strip()
    run(folder, "git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/s-2", head)
    with pytest.raises(RetuneError, match="the experiment s-2 is not of this sweep: take another --name"):
        experiments.keep(folder, Sweep("s", "plain", "auc", space, trials, {}))


def test_without_a_commit_there_is_nothing_to_belong_to(tmp_path: Path):
    with pytest.raises(RetuneError, match="belongs to a commit of git"):
        experiments.check(tmp_path)
