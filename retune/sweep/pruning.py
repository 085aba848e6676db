"""When a trial is ended: Optuna's pruners, asked about its dev curve beside those of the trials before."""

from __future__ import annotations

from collections.abc import Sequence

from retune.errors import RetuneError
from retune.sweep import sampler
from retune.sweep.dev_curve import Curve
from retune.sweep.record import Trial

PRUNERS = ("median", "halving")
FEWEST = 2
"""Evaluations that a trial has before it may be ended: the first ones, of a warm-up, tell little."""


def check(pruner: str) -> None:
    """Raise `RetuneError` for an unknown pruner, and where Optuna is missing."""
    if pruner not in PRUNERS:
        raise RetuneError(f"--prune {pruner}: take one of {', '.join(PRUNERS)}")
    sampler.installed()


def length(pruner: str, before: Sequence[Trial], curve: Curve, lower: bool, start: int) -> int | None:
    """After how many evaluations of `curve` a trial is to end, by the finished and pruned trials `before`; None: never.

    The n-th evaluation is compared with the n-th of the others. No trial is ended while fewer than `start` are done.
    `median`: the best so far is worse than the median of theirs. `halving`: after 1, 3, 9 ... evaluations a trial goes
    on only among the best third (asynchronous successive halving).
    """
    if len(curve) < FEWEST or sum(one.state == "done" for one in before) < start:
        return None
    optuna = sampler.installed()
    pruners = {
        "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=start),
        "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    }
    study = optuna.create_study(direction="minimize" if lower else "maximize", pruner=pruners[pruner]())
    states = {"done": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED}
    for one in before:
        if one.state in states and one.curve:
            trial = study.ask()
            for place, (_, value) in enumerate(one.curve, 1):
                trial.report(value, place)
                trial.should_prune()  # halving notes by this how far a trial came
            study.tell(trial, one.value if one.state == "done" else None, states[one.state])
    trial = study.ask()
    for place, (_, value) in enumerate(curve, 1):
        trial.report(value, place)
        if trial.should_prune() and place >= FEWEST:
            return place
    return None
