"""Try values of a model's keys, one training each, find the best by a dev metric; no test row is read."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.params import STATE
from retune.pipeline import kind_constants, reads
from retune.pipeline.declarations import load
from retune.pipeline.resolve import resolve
from retune.sweep import folds, pruning, record, sampler, side_by_side, trial, workplace
from retune.sweep import space as spaces
from retune.sweep.dev_curve import LOWER
from retune.sweep.record import Trial
from retune.sweep.space import Dimension
from retune.sweep.trial import Study, Surroundings

FOLDER = STATE / "sweeps"


@dataclass(frozen=True)
class Sweep:
    """What a sweep found: of `model`, by dev `metric`."""

    name: str
    model: str
    metric: str
    space: list[Dimension]
    trials: list[Trial]
    importances: dict[str, float]
    folds: int = 0

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


@dataclass(frozen=True, kw_only=True)
class Options:
    """How values are searched: `trials` in all, `jobs` at a time; `folds` 0: on dev; `prune` empty: none is ended."""

    trials: int = 12
    by: str = "tpe"
    metric: str = ""
    folds: int = 0
    prune: str = ""
    jobs: int = 1


def check(folder: Path, model: str, texts: Sequence[str], options: Options) -> tuple[list[Dimension], dict[str, Any]]:
    """The space, and what the model gets without the sweep. Raises `RetuneError` for what can't be tried."""
    space = spaces.parse(texts)
    sampler.check(options.by, space)
    if options.prune:
        pruning.check(options.prune)
    if options.folds == 1:
        raise RetuneError("--folds 1: the rows of one fold leave none to train on; take 2 or more, or 0 for dev")
    spec = spaces.check(folder, model, space)
    shape = kind_constants.constants(load(folder), spec["kind"])
    if options.metric and options.metric not in shape["DEV_METRICS"]:
        known = ", ".join(shape["DEV_METRICS"])
        raise RetuneError(f"--metric {options.metric} is no dev metric of {model}: take one of {known}")
    spec["select"] = spec.get("training", {}).get("select") or shape["SELECT"]
    return space, spec


def sweep(
    folder: Path,
    model: str,
    texts: Sequence[str],
    options: Options = Options(),
    *,
    name: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Run the trials that are left of a sweep of this name (default: the model's), and tell what all of them found.

    Nothing outside of `.retune/sweeps` changes. Raises `RetuneError` for what can't be tried, before anything runs,
    and where every trial failed.
    """
    space, spec = check(folder, model, texts, options)
    seed, select = load(folder).seed, spec["select"]
    metric, by = options.metric or select, options.by
    wanted = int(min(options.trials, sampler.size(space)))
    if wanted < options.trials:
        say(f"{wanted} trials: there are no more different ones")
    home = folder / FOLDER / (name or model)
    with record.held(home):
        resolution = resolve(folder)
        stages = workplace.chain(folder, resolution, model)
        asked = [[repr(one) for one in space], metric, by, options.folds]
        mark = reads.content_hash([workplace.fingerprint(resolution, stages), *asked])
        if old := record.begin(home, mark):
            say(f"the space, data, parameters or code changed: a new study begins, the one before is now {old.name}")
        found = record.read(home)
        if finished := sum(one.state != "running" for one in found):
            say(f"{finished} trials were finished before")
        work = home / trial.SHARED
        workplace.prepare(folder, work, resolution, stages, say)
        study = Study(
            folder, home, stages[-1], model, spec["task"], metric, select, options.folds, options.prune,
            sampler.startup(wanted),
        )  # fmt: skip
        if options.folds:
            folds.write(work / f"data/splits/{study.task}/train.parquet", home, spec["kind"], options.folds, seed)
        _run(study, found, lambda: sampler.propose(space, found, by, seed, wanted, study.lower), wanted, options, say)
    if all(one.state != "done" for one in found):
        raise RetuneError(f"every trial failed; the last: {found[-1].said}")
    shares = sampler.importances(space, found, study.lower)
    return Sweep(home.name, model, metric, space, found, shares, options.folds)


def _run(
    study: Study,
    found: list[Trial],
    propose: Callable[[], dict[str, Any] | None],
    wanted: int,
    options: Options,
    say: Callable[[str], None],
) -> None:
    """Finish the trials of `found` that were interrupted, and add others, until there are as many as wanted."""
    unfinished = [one for one in found if one.state == "running"]
    alone = threading.Lock()

    def take() -> Trial | None:
        if unfinished:
            return unfinished.pop(0)
        values = propose() if len(found) < wanted else None
        if values is None:
            return None
        one = Trial(len(found) + 1, values)
        found.append(one)
        note(one)
        return one

    def note(one: Trial) -> None:
        with alone:
            record.add(study.home, one)

    def work(one: Trial, stopped: Callable[[], bool], environment: Mapping[str, str]) -> None:
        trial.run(study, one, found, Surroundings(stopped, environment, note))
        if one.state != "running":
            note(one)
            say(line(one, study.metric))

    side_by_side.run(options.jobs, take, work)


def line(one: Trial, metric: str) -> str:
    """A trial in a line."""
    values = ", ".join(f"{key} {value}" for key, value in one.values.items())
    result = f"{one.state}: {one.said}" if one.value is None else f"dev {metric} {figure(one)}"
    return f"trial {one.number}: {values}: {result}, {one.seconds:.1f} s"


def figure(one: Trial) -> str:
    """The value of a finished trial, with its standard error over folds."""
    return f"{one.value:.4f}" if one.error is None else f"{one.value:.4f} ± {one.error:.4f}"
