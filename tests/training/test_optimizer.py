"""The learning rate of every step of a training: above zero from the first to the last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from retune.training import optimizer
from tests.support.toy_training import Toy, spec_of, train

pytestmark = pytest.mark.slow

FALL = {"linear": lambda p: 1 - p, "cosine": lambda p: 0.5 + 0.5 * np.cos(np.pi * p), "constant": np.ones_like}


@pytest.mark.parametrize("schedule", FALL)
@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (2, 1), (5, 1), (100, 10)])
def test_the_rate_rises_to_its_full_value_falls_and_is_never_zero(schedule, steps, warmup, tmp_path, monkeypatch):
    used: list[float] = []
    adamw = optimizer.adamw

    def watched(*arguments: Any) -> torch.optim.Optimizer:
        found = adamw(*arguments)
        found.register_step_pre_hook(lambda optimiser, *_: used.append(optimiser.param_groups[0]["lr"]))
        return found

    monkeypatch.setattr(optimizer, "adamw", watched)
    spec = spec_of(batch_size=1, max_steps=steps, schedule=schedule, warmup_ratio=0.1, learning_rate=0.5, eval_steps=50)
    model, record = train(tmp_path, spec)
    rest = steps - warmup
    rates = [*(np.arange(1, warmup + 1) / (warmup + 1)), *FALL[schedule](np.arange(rest) / rest)]
    assert used == pytest.approx(0.5 * np.array(rates))
    assert min(used) > 0
    assert max(used) == 0.5
    assert [entry["learning_rate"] for entry in record.history if "learning_rate" in entry][-1] == pytest.approx(
        used[-1]
    )
    assert not torch.equal(model.trained.weight, Toy().trained.weight)


def test_a_warm_up_over_all_steps_leaves_the_last_its_full_rate():
    assert [optimizer.rate(step, 4, "linear", 1.0) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [optimizer.rate(step, 4, "linear", 0.0) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
