"""`retune gate`: every model of two revisions of the project against itself, on the test rows that both have.

Each revision has its own predictions, its own temperature, threshold and estimate, its own test rows. Both are measured
alike, on the later revision's labels, groups and `evaluation` section.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from retune.data import kinds, labels
from retune.errors import RetuneError, unknown
from retune.evaluation import gate as statistics
from retune.evaluation import groups as clusters
from retune.evaluation import kinds as measures
from retune.evaluation import predictions
from retune.evaluation.gate import Change
from retune.params import Params
from retune.report import revisions, row_changes, words
from retune.report.revisions import Revision, names

Key = tuple[str, str]
"""Task and model."""


class Incomparable(Exception):
    """Why two revisions of a model can't be compared."""


@dataclass(frozen=True)
class Rows:
    """The test rows of a comparison: how many, in how many groups; how many only one revision has.

    `relabelled`: those that have another target now.
    """

    common: int
    groups: int
    only_before: int
    only_after: int
    relabelled: int


@dataclass(frozen=True)
class Compared:
    """One model: what it is called now and was called before, and what became of its metric; or why none is known."""

    task: str
    model: str
    was: Key
    metric: str
    change: Change | None = None
    rows: Rows | None = None
    reason: str = ""


@dataclass(frozen=True)
class Gate:
    """All models of two revisions, and what else a reader should know."""

    before: Revision
    after: Revision
    compared: list[Compared]
    new: list[Key] = field(default_factory=list)
    removed: list[Key] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def regressions(self) -> list[Compared]:
        """The models that are shown to be worse by more than their tolerance."""
        return [one for one in self.compared if one.change and one.change.regression]


@dataclass(frozen=True)
class _Answers:
    """One model's answers before and after, and the rows that they are to."""

    pair: tuple[Any, Any]
    groups: Any
    rows: Rows


def tolerances(resolved: Params) -> dict[str, Params]:
    """For each task the metric that decides, and by how much it may be worse.

    Raises `RetuneError` for a metric that the task's kind does not have.
    """
    found = {}
    for task, section in resolved.tasks.items():
        said = resolved.get("gate", {}).get(task, {})
        known = measures.of(section.kind).MEASURE.metrics
        metric = said.get("metric") or kinds.of(section.kind).PRIMARY
        if metric not in known:
            raise RetuneError(f"params.yaml: gate.{task}.metric: {unknown('metric', metric, known)}")
        found[task] = Params(metric=metric, worse_by=said.get("worse_by", 0.0))
    return found


def compare(before: Revision, after: Revision) -> Gate:
    """Compare all models that both revisions have; raises `RetuneError` where predictions can't be had."""
    pairs, new, removed = matched(before, after)
    limits = tolerances(after.resolved)
    if after.commit is None and (stale := _stale(after, [now for _, now in pairs])):
        raise RetuneError(f"not rebuilt since the last change: {stale}; run `dvc repro` first")
    read: list[_Answers | str] = []
    for was, now in pairs:
        try:
            read.append(_answers(before, after, was, now))
        except Incomparable as reason:
            read.append(str(reason))
    changed = sum(not isinstance(one, str) and not statistics.same(*one.pair) for one in read)
    compared = []
    for (was, (task, model)), found in zip(pairs, read, strict=True):
        metric = limits[task].metric
        if isinstance(found, str):
            compared.append(Compared(task, model, was, metric, reason=found))
            continue
        spec = after.resolved.tasks[task].evaluation
        change = statistics.change(
            measures.of(spec.kind).MEASURE, metric, found.pair, found.groups, spec,
            more_is_better=words.metric(metric).more_is_better, worse_by=limits[task].worse_by,
            times=statistics.times_for(changed, spec.bootstrap, spec.confidence),
        )  # fmt: skip
        compared.append(Compared(task, model, was, metric, change, found.rows))
    changes = iter(statistics.corrected([one.change for one in compared if one.change]))
    compared = [_with(one, next(changes)) if one.change else one for one in compared]
    return Gate(before, after, compared, new, removed, list(_notes(before, after, compared)))


def _with(one: Compared, change: Change) -> Compared:
    return Compared(one.task, one.model, one.was, one.metric, change, one.rows)


def matched(before: Revision, after: Revision) -> tuple[list[tuple[Key, Key]], list[Key], list[Key]]:
    """(task, model) before and after of every model that both have, then those that are new and that are gone.

    A model or task that is gone, and a new one that means the same, are one under another name.
    """
    old, new = before.resolved, after.resolved
    tasks = {name: name for name in new.tasks if name in old.tasks}
    tasks |= _renamed(old.tasks, new.tasks, lambda task: [task.get(part) for part in ("kind", *SAME_ROWS)])
    pairs = []
    for task, was in tasks.items():
        earlier = {model: old.models[model] for model in old.tasks[was].models}
        later = {model: new.models[model] for model in new.tasks[task].models}
        models = {model: model for model in later if model in earlier}
        models |= _renamed(earlier, later, lambda model: {k: v for k, v in model.items() if k != "task"})
        pairs += [((was, models[model]), (task, model)) for model in later if model in models]
    known = {was for was, _ in pairs}, {now for _, now in pairs}
    return (
        pairs,
        [key for key in names(after) if key not in known[1]],
        [key for key in names(before) if key not in known[0]],
    )


SAME_ROWS = ("labels", "scores", "dimensions", "source", "convert", "split")
"""Sections of a task that say which rows it has."""


def _renamed(before: dict[str, Any], after: dict[str, Any], meaning: Any) -> dict[str, str]:
    """New name -> old name, of entries that mean the same; each is taken once, in order."""
    gone = [name for name in before if name not in after]
    found = {}
    for name in after:
        if name not in before:
            was = next((old for old in gone if meaning(before[old]) == meaning(after[name])), None)
            if was is not None:
                gone.remove(was)
                found[name] = was
    return found


def _answers(before: Revision, after: Revision, was: Key, now: Key) -> _Answers:
    """Both revisions' answers to the test rows that both have, labelled as they are now."""
    old, spec = before.resolved.tasks[was[0]].evaluation, after.resolved.tasks[now[0]].evaluation
    _check_targets(old, spec, before.name)
    kind, shape = measures.of(spec.kind), kinds.of(spec.kind)
    earlier, later = _test_rows(before, was[0]), _test_rows(after, now[0])
    same_text = [pl.col(name).cast(pl.String) == pl.col(f"{name}_before").cast(pl.String) for name in shape.TEXTS]
    known = earlier.select("id", pl.col(*shape.TEXTS, shape.TARGET).name.suffix("_before"))
    common = later.join(known, on="id", how="inner", maintain_order="left").filter(same_text)
    if common.is_empty():
        raise Incomparable(f"no test row in common ({len(earlier):,} of {before.name}, {len(later):,} now)")
    moved = pl.col(shape.TARGET).cast(pl.String) != pl.col(f"{shape.TARGET}_before").cast(pl.String)
    relabelled = int(common.select(moved.sum()).item())
    rows = later.join(common, on="id", how="semi", maintain_order="left")
    splits = after.json(f"data/splits/{now[0]}/summary.json")
    pair = []
    for revision, (task, model) in ((before, was), (after, now)):
        path = f"data/predictions/{task}/{model}/test.parquet"
        predicted = revision.table(path).join(rows, on="id", how="semi", maintain_order="left")
        if revision is before and old.get("labels") != spec.get("labels"):
            predicted = _under(predicted, old.labels, spec.labels)
        place = f"{revision.short}: {path}"
        joined = predictions.join(rows, predicted, kind.columns(spec, predicted.columns), place)
        fitted = revision.json(f"data/calibrations/{task}/{model}.json")
        try:
            pair.append(kind.answers(joined, fitted, spec, splits))
        except KeyError as lost:
            raise Incomparable(f"the calibration of {revision.name} lacks {lost}: another version built it") from None
    groups = clusters.codes(rows["group"])
    counts = Rows(
        len(rows), int(groups.max()) + 1, len(earlier) - len(rows), len(later) - len(rows), relabelled
    )  # fmt: skip
    return _Answers((pair[0], pair[1]), groups, counts)


def _test_rows(revision: Revision, task: str) -> pl.DataFrame:
    """The test rows that a revision's models predicted."""
    spec = revision.resolved.tasks[task].evaluation
    rows = revision.table(f"data/splits/{task}/test.parquet")
    return predictions.limited(rows, spec.get("limit"), kinds.of(spec.kind))


def _check_targets(old: Params, new: Params, base: str) -> None:
    """Raise where the two revisions predict other things."""
    if old.kind != new.kind:
        raise Incomparable(f"it is of kind {new.kind} now, and was of kind {old.kind}")
    if old.get("scores") != new.get("scores"):
        raise Incomparable(f"scores are {_range(new.scores)} now, and were {_range(old.scores)}")
    if lost := [label for label in old.get("labels", ()) if label not in new.get("labels", ())]:
        raise Incomparable(f"{len(lost)} labels of {base} are gone, first `{lost[0]}`")


def _range(scores: list[int]) -> str:
    return f"{scores[0]} to {scores[1]}"


def _under(predicted: pl.DataFrame, old: list[str], new: list[str]) -> pl.DataFrame:
    """Predictions of the labels `old` as predictions of `new`, which has them all: a label added since has chance 0."""
    columns = dict(zip(old, labels.names(len(old)), strict=True))
    none = pl.when(pl.col("prob_0").is_not_null()).then(0.0)
    found = [
        (pl.col(columns[label]) if label in columns else none).alias(name)
        for label, name in zip(new, labels.names(len(new)), strict=True)
    ]
    return predicted.select(pl.exclude(*columns.values()), *found)


def _stale(revision: Revision, keys: list[Key]) -> str:
    """The models that were not rebuilt since their inputs changed, each with the first stage to run; empty: none."""
    stale = {model: stages for task, model in keys if (stages := revision.stale(task, model))}
    return ", ".join(f"{model} ({stages[0]})" for model, stages in stale.items())


def _notes(before: Revision, after: Revision, compared: list[Compared]) -> Iterator[str]:
    """What makes the comparison less than it seems."""
    earlier, later = [one.was for one in compared], [(one.task, one.model) for one in compared]
    for revision, keys in ((before, earlier), (after, later)):
        if stale := _stale(revision, keys):
            yield f"{revision.short} was not rebuilt after its last change, so older predictions are compared: {stale}"
    if ahead := revisions.behind(after.root, before.commit or "HEAD", after.commit):
        yield (
            f"{before.name} has {words.count(ahead)} commits that {after.short} has not; a difference may be theirs: "
            "merge them first"
        )
    yield from row_changes.notes(before, after)
    for task, now in tolerances(after.resolved).items():
        was = before.resolved.get("gate", {}).get(task, {})
        primary = kinds.of(after.resolved.tasks[task].kind).PRIMARY
        old = was.get("metric") or primary, was.get("worse_by", 0.0)
        if task in before.resolved.tasks and old != (now.metric, now.worse_by):
            yield (
                f"The tolerance of {task} changes with this: {now.metric} by {now.worse_by:g}; {before.name} has "
                f"{old[0]} by {old[1]:g}"
            )
    few: dict[str, int] = {}
    for one in compared:
        if one.rows and one.rows.groups < clusters.FEW:
            few[one.task] = one.rows.groups
    for task, number in few.items():
        confidence = after.resolved.tasks[task].evaluation.confidence
        yield f"{task}: {clusters.shortage(number, confidence)}"
