"""`retune sweep` for one model and for several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retune.sweep import search
from tests.support import sweep_project
from tests.support.command_line import run
from tests.support.declarations import replace
from tests.support.sweep_project import ran

pytestmark = pytest.mark.slow

TRAIN = 'tell(auc=[reads["linear"]["c"] / (100 if model == "plain" else 200)])\n'
SPACE = ("-S", "linear.c=2,3", "--sampler", "grid")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with two linear models."""
    folder = sweep_project.write(tmp_path / "project", TRAIN)
    replace(
        folder, "params.yaml", "  untuned:", "  second: {task: questions, learner: linear, base: scratch}\n  untuned:"
    )
    return folder


def test_one_model_is_one_document_and_a_page(folder: Path) -> None:
    said = json.loads(run(folder, "sweep", "plain", *SPACE, "--json")[0])
    assert (said["model"], said["best"]["value"], said["best"]["values"]) == ("plain", 0.03, {"linear.c": 3})
    assert "0.0300" in (folder / said["page"]).read_text(encoding="utf-8")


def test_several_models_are_one_study_each(folder: Path) -> None:
    said = json.loads(run(folder, "sweep", "plain", "second", *SPACE, "--name", "both", "--json")[0])
    assert [(one["model"], one["best"]["value"]) for one in said] == [("plain", 0.03), ("second", 0.015)]
    assert {path.name for path in (folder / search.FOLDER).iterdir() if path.is_dir()} == {"both-plain", "both-second"}
    shown = run(folder, "sweep", "plain", "second", *SPACE, "--name", "both")[0]
    assert "build it: dvc exp run --temp -n both-second-best" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plain", "cross", *SPACE), "linear"),  # no key of the second one, known before the first one runs
        (("plain", "plain", *SPACE), "plain stands twice"),
        (("plain", *SPACE, "--name", "a/b"), "--name a/b: take letters"),
        (("plain", *SPACE, "--experiments"), "belongs to a commit of git"),
    ],
)
def test_what_cannot_be_searched_is_told_before_anything_runs(folder: Path, words: tuple[str, ...], said: str) -> None:
    assert said in run(folder, "sweep", *words, fails=True)[1]
    assert ran(folder) == []
