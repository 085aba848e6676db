"""Checkpoints of one training: compared, kept, promoted; the promoted model is the same however it came about."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from retune.errors import RetuneError
from retune.params import loads
from retune.report import checkpoints
from retune.training import dvclive_log, scratch_key
from retune.yaml_edit import set_value
from tests.support.toy_training import spec_of, train

pytestmark = pytest.mark.slow

CURVE = [0.6, 0.7, 0.9, 0.8, 0.75, 0.72, 0.71, 0.7]


def told():
    """Dev metrics that rise to the third evaluation, at step 6."""
    curve = iter(CURVE)

    def evaluate(_model):
        value = next(curve)
        return {"auc": value, "loss": 1 - value}

    return evaluate


def never(_model):
    raise AssertionError("evaluated again")


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.parent.name.rpartition("-")[2]) for path in folder.glob("checkpoint-*/trained.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keep", "stored"), [("best", [6, 16]), (3, [6, 8, 10, 16]), ("all", [2, 4, 6, 8, 10, 12, 14, 16])]
)
def test_the_weights_of_so_many_checkpoints_stay(tmp_path, keep, stored):
    train(tmp_path, spec_of(eval_steps=2, keep_checkpoints=keep), told())
    assert steps_in(tmp_path) == stored
    names = {path.name for path in (tmp_path / "checkpoint-6").iterdir()}
    assert names == {"trained.safetensors", "clock.json", "trainer_state.json"}, "no state of the optimiser"


def test_a_stored_checkpoint_is_taken_without_training(tmp_path):
    model, _ = train(tmp_path, spec_of(eval_steps=2, keep_checkpoints="all"), told())
    promoted, record = train(tmp_path, spec_of(eval_steps=2, keep_checkpoints="all", checkpoint=4), never)
    want = load_file(tmp_path / "checkpoint-4/trained.safetensors")
    assert torch.equal(promoted.trained.weight, want["trained.weight"])
    assert not torch.equal(promoted.trained.weight, model.trained.weight)
    said = "Kept step 4 of 16, dev auc 0.7000, as training.checkpoint says; the best is step 6, 0.9000."
    assert record.messages[0] == said


@pytest.mark.slow
@pytest.mark.parametrize("before", ["nothing", "a training that kept the best alone", "a part of it"])
def test_a_checkpoint_that_was_not_stored_is_trained_to_the_same_bytes(tmp_path, before):
    train(tmp_path / "all", spec_of(eval_steps=2, keep_checkpoints="all"), told())
    _, want = train(tmp_path / "all", spec_of(eval_steps=2, keep_checkpoints="all", checkpoint=4), never)
    if before.startswith("a training"):
        train(tmp_path / "other", spec_of(eval_steps=2), told())
    if before.startswith("a part"):
        evaluations = iter(CURVE[:5])

        def stopped(_model):
            value = next(evaluations, None)
            if value is None:
                raise KeyboardInterrupt
            return {"auc": value, "loss": 1 - value}

        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "other", spec_of(eval_steps=2), stopped)
    _, got = train(tmp_path / "other", spec_of(eval_steps=2, checkpoint=4), told())
    weights = [(tmp_path / name / "checkpoint-4/trained.safetensors").read_bytes() for name in ("all", "other")]
    assert weights[0] == weights[1]
    assert got.history == want.history
    assert got.messages == want.messages


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            5,
            r"is 5, but this training of 16 steps is evaluated after every 3 steps up to 15, and 16: take",
        ),
        (18, r"training.checkpoint is 18, but this training of 16 steps"),
    ],
)
def test_a_step_without_an_evaluation_is_refused_before_the_training(tmp_path, step, said):
    with pytest.raises(RetuneError, match=said):
        train(tmp_path, spec_of(eval_steps=3, checkpoint=step), never)


def test_a_step_behind_an_early_stop_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(
        RetuneError, match=r"checkpoint is 14, but the training stopped early, at step 10: take an earlier one"
    ):
        train(tmp_path, spec_of(eval_steps=2, patience=2, checkpoint=14), told())


def test_the_choice_of_the_checkpoint_is_no_part_of_the_trainings_identity():
    plain, chosen = spec_of(), spec_of(checkpoint=4, keep_checkpoints="all")
    assert scratch_key.identity(plain) == scratch_key.identity(chosen)
    assert scratch_key.identity(plain) != scratch_key.identity(spec_of(epochs=3))
    assert (scratch_key.outlives_training(plain), scratch_key.outlives_training(chosen)) == (False, True)
    assert scratch_key.identity(loads('{"learner": "linear"}')) == {"learner": "linear"}
    assert not scratch_key.outlives_training(loads('{"learner": "linear"}'))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the record of one training of the model `cross`, whose every checkpoint is stored."""
    monkeypatch.chdir(tmp_path)
    spec = spec_of(eval_steps=4, keep_checkpoints="all")
    _, record = train(tmp_path / ".retune/scratch/train/cross-0123456789abcdef", spec, told())
    (tmp_path / "models/cross").mkdir(parents=True)
    (tmp_path / "models/cross/spec.json").write_text(json.dumps(spec))
    dvclive_log.write(record, tmp_path / "reports/training/cross")
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


PARAMS = """\
# every knob
seed: 7   # of all
models:
  plain: {task: questions, learner: linear, base: scratch}
  cross:
    task: questions
    learner: encoder
    training: {epochs: 2, learning_rate: 3.0e-5, eval_steps: 4}   # short
training:
  max_rows: null                    # null: every row
"""


def test_the_table_shows_every_checkpoint_and_marks_the_models(project):
    lines = checkpoints.table(checkpoints.read("cross")).splitlines()
    assert lines[0].split() == ["step", "epoch", "dev", "auc", "dev", "loss"]
    assert [line.split()[:4] for line in lines[1:5]] == [
        ["4", "0.50", "0.6000", "0.4000"],
        ["8", "1.00", "0.7000", "0.3000"],
        ["12", "1.50", "0.9000*", "0.1000*"],
        ["16", "2.00", "0.8000", "0.2000"],
    ]
    assert ["the model" in line for line in lines[1:5]] == [False, False, True, False]
    assert all("weights stored" in line for line in lines[1:5])


def test_the_page_shows_a_curve_for_each_metric(project):
    path = checkpoints.draw(checkpoints.read("cross"))
    assert path == Path(".retune/checkpoints/cross.html")
    page = path.read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "Dashed line: step 12, the model." in page
    assert "<script" not in page


def test_a_promotion_changes_that_line_of_params_yaml_and_no_other(project):
    said = checkpoints.promote("cross", "8")
    assert "models.cross.training.checkpoint is 8" in said
    assert "takes the weights after step 8" in said
    expected = PARAMS.replace("eval_steps: 4}", "eval_steps: 4, checkpoint: 8}")
    assert Path("params.yaml").read_text() == expected
    checkpoints.promote("cross", "best")
    assert Path("params.yaml").read_text() == expected.replace("checkpoint: 8", "checkpoint: best")


def test_a_promotion_without_stored_weights_says_that_it_trains_again(project):
    (project / ".retune/scratch/train/cross-0123456789abcdef/checkpoint-8/trained.safetensors").unlink()
    assert "trains again, to the same weights, and keeps step 8" in checkpoints.promote("cross", "8")


def test_stored_weights_of_other_settings_are_not_taken_for_this_trainings(project):
    mine, other = (Path(f".retune/scratch/train/cross-{name}") for name in ("0123456789abcdef", "fedcba9876543210"))
    shutil.copytree(mine, other)
    for file in other.glob("*/trainer_state.json"):
        state = json.loads(file.read_text())
        for record in state["log_history"]:
            record |= {name: value + 0.05 for name, value in record.items() if name.startswith("eval_")}
        file.write_text(json.dumps(state))
    shutil.rmtree(mine / "checkpoint-8")
    assert "trains again, to the same weights, and keeps step 8" in checkpoints.promote("cross", "8")
    assert "takes the weights after step 12" in checkpoints.promote("cross", "12")


@pytest.mark.parametrize(
    ("model", "step", "said"),
    [
        ("cross", "7", "`7` is no checkpoint of cross; there are: 4, 8, 12, 16, best"),
        ("cross", "last", "`last` is no checkpoint of cross"),
        ("crass", "8", "no record of a training of `crass`.*there are: cross"),
    ],
)
def test_what_was_not_evaluated_cannot_be_promoted(project, model, step, said):
    with pytest.raises(RetuneError, match=said):
        checkpoints.promote(model, step)
    assert Path("params.yaml").read_text() == PARAMS


def test_a_section_that_lacks_is_made(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("models:\n  a: {task: t}\n  b:\n    task: t   # why\n")
    set_value(file, ("models", "a", "training", "checkpoint"), 4)
    set_value(file, ("models", "b", "training", "checkpoint"), 5)
    assert file.read_text() == (
        "models:\n  a: {task: t, training: {checkpoint: 4}}\n  b:\n    task: t   # why\n    training: {checkpoint: 5}\n"
    )


def test_the_model_of_a_curriculum_is_the_best_of_its_last_stage(project):
    folder = Path("reports/training/cross/plots/metrics")
    rows = [(4, 1), (8, 1), (12, 1), (16, 2)]
    (folder / "stage.tsv").write_text("step\tstage\n" + "".join(f"{step}\t{stage}\n" for step, stage in rows))
    trained = checkpoints.read("cross")
    assert trained.kept == 16, "step 12 is better, and of the stage before"
    assert "the model" in checkpoints.table(trained).splitlines()[4]
    with pytest.raises(RetuneError, match="cross is trained by a curriculum"):
        checkpoints.promote("cross", "8")
