"""`retune sweep` with real trainings: their dev curves are read while they train, and trials are experiments of DVC."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from retune.sweep import pruning, search, trial
from retune.sweep.search import Options
from tests.support import warm_python
from tests.support.project import Project

pytestmark = pytest.mark.slow

RETUNE = ("python", "-m", "retune.cli")


def test_what_a_training_tells_while_it_runs_is_how_its_record_begins(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [warm_python.folder(), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(places))
    monkeypatch.setattr(trial, "LOOK", 0.0)
    seen: list[list[list[float]]] = []
    monkeypatch.setattr(pruning, "length", lambda by, before, curve, *rest: seen.append(curve))
    space = ["training.learning_rate=1e-3,2e-3"]
    found = search.sweep(project.folder, "similarity_embedder", space, Options(by="grid", trials=1, prune="median"))
    whole = found.trials[0].curve
    assert [step for step, _ in whole] == [2, 4, 6]
    assert seen[-1] == whole
    assert len(seen[0]) < len(whole), "it was seen before it was done"
    assert all(curve == whole[: len(curve)] for curve in seen)


def test_folds_of_linear_models_side_by_side_become_experiments(project: Project) -> None:
    words = ("-S", "linear.c=0.1,1.0", "--sampler", "grid", "--folds", "3", "--jobs", "2", "--experiments", "--json")
    before = project.run("git", "status", "--porcelain")
    said = project.run(*RETUNE, "sweep", "similarity_linear", "intent_linear", *words)
    found = json.loads(said[: said.rindex("]") + 1])
    assert [(one["model"], len(one["best"]["folds"])) for one in found] == [
        ("similarity_linear", 3),
        ("intent_linear", 3),
    ]
    assert project.run("git", "status", "--porcelain") == before
    shown = project.run("dvc", "exp", "list", "--name-only").split()
    assert set(shown) == {f"{model}-{n}" for model in ("similarity_linear", "intent_linear") for n in (1, 2)}
