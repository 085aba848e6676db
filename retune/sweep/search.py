"""Try values of a model's keys, one training after the other, find the best by a dev metric; no test row is read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.params import STATE
from retune.pipeline import kind_constants, reads
from retune.pipeline.declarations import load
from retune.pipeline.resolve import resolve
from retune.sweep import record, sampler, workplace
from retune.sweep import space as spaces
from retune.sweep.record import Trial
from retune.sweep.space import Dimension

FOLDER = STATE / "sweeps"
LOWER = ("loss", "mae")
"""Dev metrics of which less is better."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep found: of `model`, by dev `metric`."""

    name: str
    model: str
    metric: str
    space: list[Dimension]
    trials: list[Trial]
    importances: dict[str, float]

    @property
    def lower(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric in LOWER

    @property
    def done(self) -> list[Trial]:
        """The finished trials, the best first, the earliest of equals."""
        sign = 1 if self.lower else -1
        return sorted((one for one in self.trials if one.state == "done"), key=lambda one: sign * (one.value or 0.0))

    def command(self) -> str:
        """The command that builds the best whole, as an experiment of DVC."""
        said = " ".join(f"-S {shlex.quote(one)}" for one in spaces.overrides(self.model, self.done[0].values))
        return f"dvc exp run --temp -n {self.name}-best {said} evaluate@{self.model}"


def sweep(
    folder: Path,
    model: str,
    texts: Sequence[str],
    *,
    trials: int = 12,
    by: str = "tpe",
    metric: str = "",
    name: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Run the trials that are left of a sweep of this name (default: the model's), and tell what all of them found.

    Nothing outside of `.retune/sweeps` changes. Raises `RetuneError` for what can't be tried, before anything runs,
    and where every trial failed.
    """
    space = spaces.parse(texts)
    sampler.check(by, space)
    spec = spaces.check(folder, model, space)
    declared = load(folder)
    shape = kind_constants.constants(declared, spec["kind"])
    select = spec.get("training", {}).get("select") or shape["SELECT"]
    metric = metric or select
    if metric not in shape["DEV_METRICS"]:
        raise RetuneError(
            f"--metric {metric} is no dev metric of {model}: take one of {', '.join(shape['DEV_METRICS'])}"
        )
    wanted = int(min(trials, sampler.size(space)))
    if wanted < trials:
        say(f"{wanted} trials: there are no more different ones")
    home = folder / FOLDER / (name or model)
    with record.held(home):
        resolution = resolve(folder)
        stages = workplace.chain(folder, resolution, model)
        mark = reads.content_hash([workplace.fingerprint(resolution, stages), [repr(one) for one in space], metric, by])
        if old := record.begin(home, mark):
            say(f"the space, data, parameters or code changed: a new study begins, the one before is now {old.name}")
        found = record.read(home)
        if finished := sum(one.state != "running" for one in found):
            say(f"{finished} trials were finished before")
        work = home / "work"
        workplace.prepare(folder, work, resolution, stages, say)
        while True:
            one = next((trial for trial in found if trial.state == "running"), None)
            if one is None:
                if len(found) >= wanted:
                    break
                values = sampler.propose(space, found, by, declared.seed, wanted, metric in LOWER)
                if values is None:
                    break
                one = Trial(len(found) + 1, values)
                found.append(one)
                record.add(home, one)
            _try(folder, work, stages[-1], model, one, metric, select)
            record.add(home, one)
            say(line(one, metric))
    if all(one.state != "done" for one in found):
        raise RetuneError(f"every trial failed; the last: {found[-1].said}")
    return Sweep(home.name, model, metric, space, found, sampler.importances(space, found, metric in LOWER))


def _try(folder: Path, work: Path, stage: Any, model: str, one: Trial, metric: str, select: str) -> None:
    """Train with a trial's values; its state, dev metrics of the checkpoint that was chosen, and seconds."""
    try:
        one.seconds, curves = workplace.train(folder, work, stage, model, one.values)
    except RetuneError as error:
        one.state, one.said = "failed", str(error)
        return
    chosen = curves.get(select)
    if not chosen or metric not in curves:
        raise RetuneError(
            f"the training of {model} tells no dev {metric}: its record has {', '.join(curves) or 'none'}"
        )
    sign = 1 if select in LOWER else -1
    one.step = min(chosen, key=lambda step: (sign * chosen[step], step))
    one.metrics = {name: curve[one.step] for name, curve in curves.items() if one.step in curve}
    one.value, one.state = one.metrics[metric], "done"


def line(one: Trial, metric: str) -> str:
    """A trial in a line."""
    values = ", ".join(f"{key} {value}" for key, value in one.values.items())
    result = f"failed: {one.said}" if one.value is None else f"dev {metric} {one.value:.4f}"
    return f"trial {one.number}: {values}: {result}, {one.seconds:.1f} s"
