"""Which values are tried next, by Optuna; the same trials before give the same proposal."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError
from retune.sweep.record import Trial
from retune.sweep.space import Dimension, rounded

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "random", "grid")
TRIES = 50
"""Draws until values that were tried already are given up."""


def check(sampler: str, space: Sequence[Dimension]) -> None:
    """Raise `RetuneError` for an unknown sampler, a grid over a range, and where Optuna is missing."""
    if sampler not in SAMPLERS:
        raise RetuneError(f"--sampler {sampler}: take one of {', '.join(SAMPLERS)}")
    if sampler == "grid" and (ranges := [one.key for one in space if not one.choices]):
        raise RetuneError(
            f"--sampler grid tries lists: give the values of {ranges[0]} with commas, or take tpe or random"
        )
    if sampler != "grid":
        installed()


def size(space: Sequence[Dimension]) -> float:
    """How many different trials there are; infinite with a range of numbers that are not whole."""
    counts = [len(one.choices) or (one.high - one.low + 1 if one.whole else math.inf) for one in space]
    return math.prod(counts)


def startup(budget: int) -> int:
    """Trials before Optuna decides by what it learnt; of so few, its own ten would leave nothing to learn from."""
    return max(4, budget // 3)


def propose(
    space: Sequence[Dimension], trials: Sequence[Trial], sampler: str, seed: int, budget: int, lower: bool
) -> dict[str, Any] | None:
    """The values of the next trial, which no trial had before; None where none is found. `lower`: less is better."""
    tried = [one.values for one in trials]
    if sampler == "grid":
        keys = [one.key for one in space]
        every = (dict(zip(keys, values, strict=True)) for values in itertools.product(*(one.choices for one in space)))
        return next((values for values in every if values not in tried), None)
    optuna = installed()
    made = (
        optuna.samplers.RandomSampler(seed=seed + len(trials))
        if sampler == "random"
        else optuna.samplers.TPESampler(seed=seed + len(trials), n_startup_trials=startup(budget), constant_liar=True)
    )
    asked = study(space, trials, lower, made)
    for _ in range(TRIES):
        trial = asked.ask(_distributions(space))
        values = {one.key: _drawn(one, trial.params[one.key]) for one in space}
        if values not in tried:
            return values
    return None


def study(space: Sequence[Dimension], trials: Sequence[Trial], lower: bool, sampler: Any = None) -> optuna.study.Study:
    """Optuna's study of the trials, in memory: finished and pruned ones, and those that run at the moment."""
    optuna = installed()
    made = optuna.create_study(direction="minimize" if lower else "maximize", sampler=sampler)
    distributions, kinds = _distributions(space), optuna.trial.TrialState
    states = {"done": kinds.COMPLETE, "pruned": kinds.PRUNED, "running": kinds.RUNNING}
    for one in trials:
        if one.state in states:
            params = {d.key: d.choices.index(one.values[d.key]) if d.choices else one.values[d.key] for d in space}
            seen = {place: value for place, (_, value) in enumerate(one.curve, 1)} if one.state == "pruned" else {}
            made.add_trial(
                optuna.trial.create_trial(
                    state=states[one.state],
                    params=params,
                    distributions=distributions,
                    value=one.value,
                    intermediate_values=seen,
                )
            )
    return made


def importances(space: Sequence[Dimension], trials: Sequence[Trial], lower: bool) -> dict[str, float]:
    """Share of the spread of the dev metric by key (PED-ANOVA); empty where Optuna or enough trials are missing."""
    values = {one.value for one in trials if one.state == "done"}
    if len(values) < 4:
        return {}
    try:
        optuna = installed()
    except RetuneError:  # a grid needs none
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study(space, trials, lower), evaluator=evaluator))


def _distributions(space: Sequence[Dimension]) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    return {
        one.key: CategoricalDistribution(range(len(one.choices)))  # by place: any value may be a choice
        if one.choices
        else IntDistribution(int(one.low), int(one.high), log=one.log)
        if one.whole
        else FloatDistribution(one.low, one.high, log=one.log)
        for one in space
    }


def _drawn(one: Dimension, value: Any) -> Any:
    return one.choices[value] if one.choices else rounded(one, value)


def installed() -> ModuleType:
    """Optuna, which warns of nothing experimental; raises `RetuneError` where it is missing."""
    try:
        import optuna
    except ImportError:
        raise RetuneError(
            "the samplers tpe and random are Optuna's, which is not installed: `pip install 'retune[sweep]'`, or take "
            "`--sampler grid`"
        ) from None
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
