"""Trials train in a copy in which the stages before ran once; what was finished is not run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.sweep import search, workplace
from retune.sweep.search import Options
from tests.support import declarations, sweep_project
from tests.support.sweep_project import ran

pytestmark = pytest.mark.slow

TRAIN = """\
assert pathlib.Path("data/splits/questions").read_text() == "rows"
assert not pathlib.Path("data/test").exists()
c = reads["linear"]["c"]
if c == 9:
    sys.exit("out of memory")
if c == 8:
    os.kill(os.getpid(), 9)
tell(auc=[1 / (2 + abs(c - 3)), 0.1], loss=[c, 0])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sweep_project.write(tmp_path / "project", TRAIN)


def test_stages_before_the_training_run_once_and_the_best_is_chosen_on_dev(folder: Path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = search.sweep(folder, "plain", ["linear.c=1,3,9,5"], Options(by="grid"))
    assert ran(folder) == ["split", "train", "train", "train"]
    assert [one.values["linear.c"] for one in found.done] == [3, 1, 5]
    assert (found.done[0].value, found.done[0].step) == (0.5, 1)
    assert [(one.number, one.said[-13:]) for one in found.trials if one.state == "failed"] == [(3, "out of memory")]
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".retune" not in path.parts}
    assert after == before


def test_another_metric_is_that_of_the_chosen_checkpoint(folder: Path):
    found = search.sweep(folder, "plain", ["linear.c=2,3"], Options(by="grid", metric="loss"))
    assert [(one.values["linear.c"], one.value) for one in found.done] == [(2, 2.0), (3, 3.0)]


def test_an_interrupted_sweep_goes_on_with_its_unfinished_trial(folder: Path, monkeypatch: pytest.MonkeyPatch):
    real, calls = workplace.train, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    space = ["linear.c=1,2,3"]
    monkeypatch.setattr(workplace, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        search.sweep(folder, "plain", space, Options(by="grid"))  # stopped in its second trial
    monkeypatch.setattr(workplace, "train", real)
    said: list[str] = []
    found = search.sweep(folder, "plain", space, Options(by="grid"), say=said.append)
    assert ran(folder) == ["split", "train", "train", "train"]
    assert [one.values["linear.c"] for one in found.trials] == [1, 2, 3]
    assert "1 trials were finished before" in said
    declarations.replace(folder, "params.yaml", "seed: 7", "seed: 8")
    search.sweep(folder, "plain", space, Options(by="grid"), say=said.append)
    assert any("a new study begins" in one for one in said)
    assert len(ran(folder)) == 8


@pytest.mark.parametrize("by", ["tpe", "random"])
def test_the_same_seed_tries_the_same_values_and_none_twice(folder: Path, by: str):
    space = ["linear.c=1.0..10.0", "linear.min_df=1..3"]
    tried = [
        [
            tuple(one.values.items())
            for one in search.sweep(folder, "plain", space, Options(trials=5, by=by), name=name).trials
        ]
        for name in ("one", "two")
    ]
    assert tried[0] == tried[1]
    assert len(set(tried[0])) == 5


def test_a_sweep_in_which_every_trial_fails_says_why(folder: Path):
    with pytest.raises(RetuneError, match="every trial failed; the last: train@plain failed: out of memory"):
        search.sweep(folder, "plain", ["linear.c=9,8"], Options(by="grid", trials=1))


def test_wrong_samplers_and_metrics_are_told_before_anything_runs(folder: Path):
    for options, said in (
        ({"by": "grit"}, "--sampler grit"),
        ({"by": "grid"}, "grid tries lists"),
        ({"metric": "ndcg"}, "is no dev metric"),
        ({"prune": "mean"}, "--prune mean: take one of median, halving"),
        ({"folds": 1}, "leave none to train on"),
    ):
        with pytest.raises(RetuneError, match=said):
            search.sweep(folder, "plain", ["linear.c=1.0..3.0"], Options(**options))
    assert ran(folder) == []


def test_a_training_that_the_system_kills_is_told_as_such_and_the_others_go_on(folder: Path):
    found = search.sweep(folder, "plain", ["linear.c=8,3"], Options(by="grid"))
    assert [one.state for one in found.trials] == ["failed", "done"]
    assert "killed by SIGKILL, as Linux does where memory runs out" in found.trials[0].said


@pytest.mark.parametrize("by", ["grid", "random"])
def test_several_trials_at_a_time_find_what_one_after_the_other_finds(folder: Path, by: str):
    space = ["linear.c=1,2,3,4,5,6", "linear.min_df=1,2"]
    found = [
        search.sweep(folder, "plain", space, Options(by=by, trials=6, jobs=jobs), name=f"jobs-{jobs}")
        for jobs in (1, 3)
    ]
    values = [[(one.number, one.values, one.value) for one in sweep.trials] for sweep in found]
    assert values[0] == values[1]
    assert found[0].importances == found[1].importances
    assert ran(folder).count("split") == 2, "once in each sweep, however many jobs it has"
    assert [path.name for path in (folder / search.FOLDER / "jobs-3/trials").iterdir()] == []
