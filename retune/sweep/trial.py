"""One trial: the training of its values, once or on every fold, in a copy of its own."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retune.errors import RetuneError
from retune.pipeline.instances import Instance
from retune.sweep import dev_curve, folds, pruning, workplace
from retune.sweep.dev_curve import LOWER, Curve
from retune.sweep.record import Trial
from retune.verify import copy

FOLDER, SHARED = "trials", "work"
"""In the folder of a sweep: the copies of the trials that run, and the one in which the stages before ran."""

LOOK = 0.5
"""Seconds between two looks at what a training tells of dev."""


@dataclass(frozen=True)
class Study:
    """What all trials of a sweep have in common; `home` is its folder, `start` the trials before any is pruned."""

    project: Path
    home: Path
    stage: Instance
    model: str
    task: str
    metric: str
    select: str
    folds: int = 0
    prune: str = ""
    start: int = 0

    @property
    def lower(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric in LOWER


@dataclass(frozen=True)
class Surroundings:
    """What a trial is told from outside: whether to stop, its environment, and where to note that a fold is done."""

    stopped: Callable[[], bool]
    environment: Mapping[str, str]
    note: Callable[[Trial], None]


def run(study: Study, one: Trial, before: Sequence[Trial], around: Surroundings) -> None:
    """Run a trial to its end, with those `before` it to be pruned by; it stays `running` where it is stopped."""
    work = study.home / FOLDER / str(one.number)
    if not work.is_dir():  # else it goes on where it was interrupted
        copy.clone(study.home / SHARED, work)
    try:
        (_on_folds if study.folds else _once)(study, one, before, around, work)
    except RetuneError as error:
        one.state, one.said = "failed", str(error)
    if one.state != "running":
        shutil.rmtree(work, ignore_errors=True)


def _once(study: Study, one: Trial, before: Sequence[Trial], around: Surroundings, work: Path) -> None:
    looked, seen = 0.0, 0

    def watch(seconds: float) -> bool:
        nonlocal looked, seen
        if around.stopped():
            return True
        if not study.prune or seconds < looked + LOOK:
            return False
        looked, curve = seconds, dev_curve.live(work, study.model, study.metric)
        news, seen = len(curve) > seen, len(curve)
        return news and _length(study, before, curve) is not None

    ran = _train(study, one, around, work, watch)
    if around.stopped():
        return
    if ran.stopped:
        one.curve = dev_curve.live(work, study.model, study.metric)
    else:
        one.curve = [[step, v] for step, v in dev_curve.finished(work, study.model).get(study.metric, {}).items()]
        one.step, one.metrics = dev_curve.chosen(work, study.model, study.metric, study.select)
    if not _pruned(study, one, before):  # one that was faster than the look at it is judged alike
        one.value, one.state = one.metrics[study.metric], "done"


def _on_folds(study: Study, one: Trial, before: Sequence[Trial], around: Surroundings, work: Path) -> None:
    for number in range(len(one.folds) + 1, study.folds + 1):
        if _pruned(study, one, before):
            return
        folds.put(study.home, number, work, Path("data/splits") / study.task)
        _train(study, one, around, work, lambda _: around.stopped())
        if around.stopped():
            return
        one.folds.append(dev_curve.chosen(work, study.model, study.metric, study.select)[1])
        one.curve.append([number, statistics.fmean(metrics[study.metric] for metrics in one.folds)])
        around.note(one)
    one.metrics = {
        name: statistics.fmean(metrics[name] for metrics in one.folds)
        for name in one.folds[0]
        if all(name in metrics for metrics in one.folds)
    }
    one.error = statistics.stdev(metrics[study.metric] for metrics in one.folds) / len(one.folds) ** 0.5
    one.value, one.state = one.metrics[study.metric], "done"


def _train(study: Study, one: Trial, around: Surroundings, work: Path, watch: Callable[[float], bool]) -> workplace.Ran:
    ran = workplace.train(study.project, work, study.stage, study.model, one.values, watch, around.environment)
    one.seconds += ran.seconds
    return ran


def _length(study: Study, before: Sequence[Trial], curve: Curve) -> int | None:
    return pruning.length(study.prune, before, curve, study.lower, study.start) if study.prune else None


def _pruned(study: Study, one: Trial, before: Sequence[Trial]) -> bool:
    """Mark a trial whose dev curve is worse than the others': whatever it did after that counts for nothing."""
    length = _length(study, before, one.curve)
    if length is None:
        return False
    one.curve, one.step, one.metrics = one.curve[:length], None, {}
    step, value = one.curve[-1]
    unit = "fold" if study.folds else "step"
    one.state, one.said = "pruned", f"dev {study.metric} {value:.4f} at {unit} {step:g} ({study.prune})"
    return True
