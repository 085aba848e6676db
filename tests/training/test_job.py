"""The training loop: order, choice of the checkpoint, early stop, resume to the same bytes, refusals, messages."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.errors import RetuneError
from retune.params import Params
from retune.training import batch_order, job, trainer
from tests.support.toy_training import Toy, loss, spec_of, train

pytestmark = pytest.mark.slow


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=300),
    size=st.integers(1, 9),
    epochs=st.floats(0.1, 3.0),
    seed=st.integers(0, 5),
    documents=st.none() | st.integers(1, 50),
)
@settings(deadline=None, max_examples=60)
def test_every_epoch_visits_every_row_once(lengths, size, epochs, seed, documents):
    together = documents and [row % documents for row in range(len(lengths))]
    batches = batch_order.order(lengths, size, epochs, seed, together)
    per_epoch = math.ceil(len(lengths) / size)
    assert len(batches) == max(1, round(per_epoch * epochs))
    for start in range(0, len(batches) - per_epoch + 1, per_epoch):
        visited = np.concatenate(batches[start : start + per_epoch])
        assert sorted(visited) == list(range(len(lengths)))
    assert all(0 < len(batch) <= size for batch in batches)


def test_rows_of_similar_length_share_a_batch_in_an_order_that_the_seed_sets():
    lengths = np.random.default_rng(0).integers(1, 100, 2000).tolist()
    batches = batch_order.order(lengths, 8, 2, 0)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.1 * 2 * sum(lengths)
    again, other = (batch_order.order(lengths, 8, 2, seed) for seed in (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(batches, other, strict=True))


def test_rows_that_stay_together_share_a_batch_and_their_order_is_shuffled():
    documents = [row % 40 for row in range(240)]
    lengths = np.random.default_rng(0).integers(1, 100, 40)[documents].tolist()
    batches = batch_order.order(lengths, 12, 2, 0, documents)
    for batch in batches:
        assert sorted(documents[row] for row in batch) == sorted(2 * sorted({documents[row] for row in batch}) * 3)
        assert len({documents[row] for row in batch}) == 2
    assert len({tuple(row // 40 for row in batch) for batch in batches}) > 1, "the rows of a document, in any order"
    assert [set(b) for b in batches[:20]] != [set(b) for b in batches[20:]]


def test_rows_are_chosen_by_their_ids_and_appended_rows_displace_few():
    frame = pl.DataFrame({"id": [f"r{i}" for i in range(1000)]})
    chosen = job.choose_rows(frame, 100, 0)
    assert len(chosen) == 100
    assert set(job.choose_rows(frame.reverse(), 100, 0)["id"]) == set(chosen["id"])
    longer = job.choose_rows(pl.concat([frame, pl.DataFrame({"id": [f"n{i}" for i in range(50)]})]), 100, 0)
    assert len(set(longer["id"]) & set(chosen["id"])) >= 88
    assert job.choose_rows(frame, None, 0).equals(frame)
    assert job.choose_rows(frame, 5000, 0).equals(frame)


def test_a_training_learns_and_leaves_frozen_weights_alone(tmp_path):
    start = Toy()
    model, record = train(tmp_path, spec_of(epochs=10, learning_rate=0.05))
    assert torch.equal(model.frozen.weight, start.frozen.weight)
    assert record.history[-1]["eval_auc"] > 0.75
    assert record.history[-1]["step"] == 80
    assert record.history[-1]["epoch"] == 10.0
    assert record.resources["parameters_trained"] == 34
    assert record.resources["tokens"] == 640


def test_the_history_holds_nothing_that_differs_from_run_to_run(tmp_path):
    first, second = (train(tmp_path / name)[1].history for name in "ab")
    assert first == second
    names = {name for record in first for name in record}
    assert names == {"step", "epoch", "loss", "grad_norm", "learning_rate"} | {
        f"eval_{name}" for name in ("loss", "auc", "f1", "accuracy", "positives")
    }


@pytest.mark.parametrize("select", ["auc", "loss"])
def test_the_best_checkpoint_is_kept_and_not_the_last(tmp_path, select):
    curve = iter([0.6, 0.9, 0.7, 0.5])
    weights = []

    def told(model):
        weights.append(model.trained.weight.detach().clone())
        value = next(curve)
        return {"auc": value, "loss": 1 - value}

    model, record = train(tmp_path, spec_of(eval_steps=4, select=select), told)
    assert torch.equal(model.trained.weight, weights[1])
    assert not torch.equal(weights[1], weights[-1])
    assert record.messages[0].startswith("Kept step 8 of 16")


def test_a_training_without_gain_stops_early_and_says_so(tmp_path):
    curve = iter([0.6, 0.9, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9])
    _, record = train(tmp_path, spec_of(eval_steps=2, patience=2), lambda _: {"auc": next(curve)})
    assert record.history[-1]["step"] == 8
    assert "Stopped early at step 8 of 16: 2 evaluations without gain." in record.messages


def test_a_finished_training_is_not_trained_again(tmp_path):
    model, record = train(tmp_path)

    def never(_model):
        raise AssertionError("evaluated again")

    again, same = train(tmp_path, evaluate=never)
    assert torch.equal(again.trained.weight, model.trained.weight)
    assert same.history == record.history


def test_training_and_schedule_end_after_max_steps(tmp_path):
    _, record = train(tmp_path / "a", spec_of(max_steps=5, eval_steps=2))
    _, whole = train(tmp_path / "b", spec_of(max_steps=500))
    assert [r["step"] for r in record.history if "eval_auc" in r] == [2, 4, 5]
    assert record.history[-1]["epoch"] == 0.625
    assert whole.history[-1]["step"] == 16
    rates = [r["learning_rate"] for r in record.history if "learning_rate" in r]
    assert rates == pytest.approx([0.01, 0.005, 0.0025]), (
        "of steps 2, 4, 5: a step of warm-up, then 4, 3, 2, 1 quarters"
    )


def test_a_loss_that_is_not_finite_ends_the_training_with_a_remedy(tmp_path):
    with pytest.raises(RetuneError, match=r"training loss is nan at step 5.*training.learning_rate \(0.01\)"):
        train(tmp_path, loss=lambda m, batch: loss(m, batch) * float("nan"))


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(RetuneError, match="no training row"):
        train(tmp_path, items=[])


def test_only_trained_weights_are_in_a_checkpoint(tmp_path):
    from safetensors.torch import load_file

    train(tmp_path)
    assert set(load_file(tmp_path / "checkpoint-16/trained.safetensors")) == {"trained.weight", "trained.bias"}
    assert len(list(tmp_path.glob("checkpoint-*"))) <= 2


def killed_at(step: int, scratch: Path, spec: Params, half: bool) -> int:
    """Exit code of a child that trains and dies after a step, or in the midst of writing that step's checkpoint."""
    child = os.fork()  # cheap: torch is loaded already, and the toy uses no thread
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    step_end, save_random_state = trainer.Evaluations.on_step_end, trainer.Loop._save_rng_state

    def die(self, args, state, control, **more):
        step_end(self, args, state, control, **more)
        if state.global_step == step and not half:
            os._exit(9)

    def die_while_writing(self, output_dir):
        if self.state.global_step == step and half:
            os._exit(9)
        save_random_state(self, output_dir)

    try:
        trainer.Evaluations.on_step_end, trainer.Loop._save_rng_state = die, die_while_writing
        train(scratch, spec)
    finally:
        os._exit(1)


@pytest.mark.slow
@pytest.mark.parametrize(("kill", "where"), [(8, "between"), (10, "half"), (2, "before the first")])
def test_a_killed_training_resumes_to_the_bytes_of_an_undisturbed_one(tmp_path, kill, where):
    spec = spec_of(batch_size=16, epochs=4, schedule="cosine")
    whole, want = train(tmp_path / "whole", spec)
    assert killed_at(kill, tmp_path / "killed", spec, where == "half") == 9
    assert (where == "half") == (tmp_path / "killed/checkpoint-10.part").exists()
    complete = sorted(path.name for path in (tmp_path / "killed").glob("checkpoint-*") if path.suffix != ".part")
    assert complete == ([] if kill == 2 else ["checkpoint-5"])
    resumed, got = train(tmp_path / "killed", spec)
    assert got.history == want.history
    assert got.messages == want.messages
    assert whole.trained.weight.detach().numpy().tobytes() == resumed.trained.weight.detach().numpy().tobytes()
    last = "checkpoint-16/trained.safetensors"
    assert (tmp_path / "whole" / last).read_bytes() == (tmp_path / "killed" / last).read_bytes()
    assert got.resources["tokens"] == want.resources["tokens"]


def test_an_early_stop_just_before_a_kill_stays_a_stop(tmp_path):
    curve = [0.9, 0.8, 0.8, 0.95, 0.95, 0.95, 0.95, 0.95]
    first, again = iter(curve), iter([0.99] * 8)
    model, record = train(tmp_path, spec_of(eval_steps=2, patience=2), lambda _: {"auc": next(first)})
    resumed, same = train(tmp_path, spec_of(eval_steps=2, patience=2), lambda _: {"auc": next(again)})
    assert same.history == record.history
    assert torch.equal(model.trained.weight, resumed.trained.weight)
