"""A trial whose dev curve is worse than the others' is ended, and it is not a matter of how fast it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from retune.sweep import dev_curve, pruning, search, words
from retune.sweep.record import Trial
from retune.sweep.search import Options
from tests.support import sweep_project
from tests.support.sweep_project import ran

GOOD = [Trial(n, {}, "done", 0.9, curve=[[10, 0.5 + n / 100], [20, 0.7 + n / 100], [30, 0.9]]) for n in range(1, 5)]


@pytest.mark.parametrize(
    ("curve", "lower", "length"),
    [
        ([[10, 0.1]], False, None),  # of the first evaluation alone nothing follows
        ([[10, 0.1], [20, 0.2]], False, 2),
        ([[10, 0.1], [20, 0.9], [30, 0.1]], False, None),  # the best so far counts
        ([[10, 0.9], [20, 0.1], [30, 0.1]], False, None),
        ([[10, 0.6], [20, 0.6], [30, 0.6]], False, 2),
        ([[10, 0.1], [20, 0.2]], True, None),
        ([[10, 0.9], [20, 0.9]], True, 2),
        ([[7, 0.1], [14, 0.2]], False, 2),  # by evaluations, wherever their steps lie
    ],
)
def test_the_median_of_the_others_at_the_same_evaluation_ends_a_trial(curve: list, lower: bool, length: int | None):
    assert pruning.length("median", GOOD, curve, lower, 4) == length


def test_none_is_ended_while_few_are_done(tmp_path: Path):
    worst = [[10, 0.0], [20, 0.0], [30, 0.0]]
    others = [Trial(9, {}, "pruned", curve=worst), Trial(10, {}, "failed"), Trial(11, {}, curve=worst)]
    assert pruning.length("median", [*GOOD[:3], *others], worst, False, 4) is None
    assert pruning.length("median", [*GOOD, *others], worst, False, 4) == 2


def test_halving_lets_the_best_third_go_on():
    better, worse = [[10, 0.9], [20, 0.9], [30, 0.95]], [[10, 0.3], [20, 0.3], [30, 0.3]]
    assert pruning.length("halving", GOOD, better, False, 4) is None
    assert pruning.length("halving", GOOD, worse, False, 4) == 3, "the first rung after one evaluation is not used"
    assert pruning.length("halving", GOOD[:3], worse, False, 4) is None, "while few are done"


TRAIN = """\
values = [round(reads["linear"]["c"] * step / 10, 3) for step in range(1, 6)]
scratch = pathlib.Path(f".retune/scratch/train/{model}-0123456789abcdef")
history = []
for step, value in enumerate(values, 1):
    history += [{"step": step, "loss": 1.0}, {"step": step, "eval_auc": value}]
    folder = scratch / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    if reads["linear"]["c"] == 1 and step == 3:
        time.sleep(60)
tell(auc=values)
"""


@pytest.mark.slow
def test_a_training_is_ended_in_its_middle_and_stays_pruned_when_the_sweep_goes_on(tmp_path: Path):
    folder = sweep_project.write(tmp_path / "project", TRAIN)
    space = ["linear.c=4,5,6,7,1,8"]
    options = Options(by="grid", prune="median", trials=5)
    found = search.sweep(folder, "plain", space, options)
    assert [one.state for one in found.trials] == ["done"] * 4 + ["pruned"]
    assert found.trials[4].curve == [[1, 0.1], [2, 0.2]]
    assert found.trials[4].said == "dev auc 0.2000 at step 2 (median)"
    assert ran(folder).count("train") == 4
    again = search.sweep(folder, "plain", space, Options(by="grid", prune="median", trials=6))
    assert again.trials[:5] == found.trials
    assert ran(folder).count("train") == 5
    assert "trial 5 pruned: dev auc 0.2000 at step 2 (median)" in words.table(again)
    page = words.page(again, tmp_path / "index.html").read_text(encoding="utf-8")
    assert "those that were ended are dashed" in page


def test_a_training_that_was_faster_than_the_look_at_it_is_judged_alike(tmp_path: Path):
    folder = sweep_project.write(tmp_path / "project", TRAIN.replace("time.sleep(60)", "pass"))
    found = search.sweep(folder, "plain", ["linear.c=4,5,6,7,1"], Options(by="grid", prune="median"))
    assert [one.state for one in found.trials] == ["done"] * 4 + ["pruned"]
    assert found.trials[4].curve == [[1, 0.1], [2, 0.2]]
    assert found.trials[4].value is None


def test_the_stages_of_a_curriculum_are_one_curve_and_the_last_gives_the_model(tmp_path: Path):
    for phase, values in ((1, [0.5, 0.6]), (2, [0.4]), (10, [0.9])):
        folder = tmp_path / f".retune/scratch/train/m-0123456789abcdef/stage-{phase}/checkpoint-{len(values)}"
        folder.mkdir(parents=True)
        history = ", ".join(f'{{"step": {n}, "eval_mae": {v}}}' for n, v in enumerate(values, 1))
        (folder / "trainer_state.json").write_text(f'{{"log_history": [{history}]}}')
        (folder.parent / f"checkpoint-{len(values) + 1}.part").mkdir()
    assert dev_curve.live(tmp_path, "m", "mae") == [[1, 0.5], [2, 0.6], [3, 0.4], [4, 0.9]]
    record = tmp_path / "reports/training/m"
    (record / "plots/metrics/dev").mkdir(parents=True)
    (record / "plots/metrics/dev/mae.tsv").write_text("step\tmae\n1\t0.5\n2\t0.6\n3\t0.4\n4\t0.9\n")
    (record / "stages.json").write_text('[{"step": 1, "metrics": {"mae": 0.5}}, {"step": 4, "metrics": {"mae": 0.9}}]')
    assert dev_curve.chosen(tmp_path, "m", "mae", "mae") == (4, {"mae": 0.9})
    (record / "stages.json").write_text("[]")
    assert dev_curve.chosen(tmp_path, "m", "mae", "mae") == (3, {"mae": 0.4})
