"""What the report reads: the outputs of the stages before it, and nothing that dvc.yaml doesn't declare for it."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune import run_record
from retune.data import kinds as task_kinds
from retune.errors import RetuneError
from retune.params import Params
from retune.report import kinds, words
from retune.report.files import read_json, read_table
from retune.training.checkpoint_choice import LOWER

if TYPE_CHECKING:
    from retune.report.kinds.protocol import Kind

History = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Model:
    """One model of a task: its parameters, its results, and the record of its training.

    `size` are its training rows and parameters, `runs` the names of what is known of its training and its prediction on
    this machine (retune.run_record). `abstention`, of one that keeps answers back, has its metrics and its curve. A
    chain of two models has parameters and metrics alone. Of a model with several `seeds` (training -> seed) the metrics
    are means over them, with their spread (retune.evaluation.seeds); all else is of the first, and `further` are the
    others.
    """

    name: str
    spec: Params
    metrics: dict[str, dict[str, float | None]]
    base: Params = field(default_factory=Params)
    counts: dict[str, int] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    abstention: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=dict)
    size: dict[str, Any] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    seeds: dict[str, int] = field(default_factory=dict)
    further: list[Model] = field(default_factory=list)

    @property
    def role(self) -> str:
        """`baseline` (linear), `untuned` (a checkpoint as it came), or nothing for a tuned model."""
        if self.spec.learner == "linear":
            return "baseline"
        untuned = self.spec.learner == "api" or self.spec.get("training", {}).get("epochs") == 0
        return "untuned" if untuned else ""

    @property
    def remarks(self) -> list[str]:
        """Sentences about its test rows, beside the metrics."""
        return words.remarks(self.counts)

    def curve(self, *names: str) -> list[tuple[float, float]]:
        """The first of these training series that there is, as (step, value)."""
        return next((self.history[name] for name in names if name in self.history), [])

    @property
    def select(self) -> str:
        """The dev metric that picks the checkpoint; the kind's own for a learner without steps."""
        return str(self.spec.get("training", {}).get("select", task_kinds.of(self.spec.kind).SELECT))

    @cached_property
    def chosen(self) -> tuple[float, float] | None:
        """Step and value of the evaluation whose checkpoint is the model: the first of the best, or the one named.

        Of a curriculum that is the one that its last stage kept.
        """
        points = self.curve(f"dev/{self.select}")
        if not points:
            return None
        if self.stages:
            return next(point for point in points if point[0] == self.stages[-1]["step"])
        if (step := self.spec.get("training", {}).get("checkpoint", "best")) != "best":
            return next(point for point in points if point[0] == step)
        return min(points, key=lambda p: (p[1] if self.select in LOWER else -p[1], p[0]))


@dataclass(frozen=True)
class Task:
    """One task: where its rows came from, how they were split, what was seen in them, its models, how they compare."""

    name: str
    spec: Params
    converted: dict[str, Any]
    splits: dict[str, Any]
    exploration: dict[str, Any]
    comparison: dict[str, Any]
    disagreements: pl.DataFrame
    models: list[Model]

    @property
    def systems(self) -> list[Model]:
        """What is compared: the models and the chains of two of them."""
        return [*self.models, *(_chain(self, name, entry) for name, entry in self.comparison["chains"].items())]

    @property
    def kind(self) -> Kind:
        """What the report shows of tasks of this kind."""
        return kinds.of(self.spec.kind)

    @property
    def alpha(self) -> float:
        """The level below which a corrected p counts as a difference."""
        return round(1 - float(self.spec.evaluation.get("confidence", 0.95)), 6)

    @property
    def percent(self) -> str:
        """`95 %`."""
        return f"{100 * (1 - self.alpha):g}\u00a0%"


def read(params: Params, root: Path = Path()) -> list[Task]:
    """Every task of the resolved parameters, in their order; raises `RetuneError` naming a missing file."""
    return [_task(params, name, root) for name in params.tasks]


def _task(params: Params, name: str, root: Path) -> Task:
    spec = params.tasks[name]
    comparisons = root / "reports/comparisons" / name
    comparison = read_json(comparisons / "comparison.json")
    models = []
    for model in spec.models:
        models.append(_over_seeds(params, name, _model(params, name, model, root), comparison, root))
        means = [mean for mean, of in spec.get("ensembles", {}).items() if of == model]
        models += [_model(params, name, mean, root) for mean in means]
    return Task(
        name=name,
        spec=spec,
        converted=read_json(root / "data/converted" / name / "summary.json"),
        splits=read_json(root / "data/splits" / name / "summary.json"),
        exploration=read_json(root / "reports/explore" / name / "exploration.json"),
        comparison=comparison,
        disagreements=read_table(comparisons / "disagreements.parquet"),
        models=models,
    )


def _over_seeds(params: Params, task: str, first: Model, comparison: dict[str, Any], root: Path) -> Model:
    """A model as it is; one with several seeds with the metrics that they have together."""
    seeds = params.tasks[task].get("seeds", {}).get(first.name)
    if not seeds:
        return first
    if first.name not in comparison.get("seeds", {}):
        raise RetuneError(f"the comparison of {task} lacks the seeds of {first.name}: run `dvc repro` again")
    further = [_model(params, task, name, root) for name in seeds if name != first.name]
    return replace(first, metrics=comparison["seeds"][first.name], seeds=dict(seeds), further=further)


def _model(params: Params, task: str, name: str, root: Path) -> Model:
    spec = params.models[name] if name in params.models else _named(params.ensembles[name])
    metrics = read_json(root / f"reports/metrics/{name}.json")
    measured = metrics["test"]
    evaluation, training = root / "reports/evaluations" / task / name, root / "reports/training" / name
    return Model(
        name=name,
        spec=spec,
        base=params.bases[spec.base],
        metrics={key: value for key, value in measured.items() if isinstance(value, dict)},
        counts={key: value for key, value in measured.items() if not isinstance(value, dict)},
        calibration=read_json(root / "data/calibrations" / task / f"{name}.json"),
        details=kinds.of(spec.kind).read(evaluation),
        abstention=_abstention(metrics, evaluation),
        history=history(training / "plots/metrics"),
        size=read_json(training / "counts.json", default={}),
        **read_json(training / "messages.json", default={}),
        stages=read_json(training / "stages.json", default=[]),
        runs={
            stage: run_record.key(stage, name, result.read_bytes())
            for stage, result in (
                ("train", training / "metrics.json"),
                ("predict", root / f"data/predictions/{task}/{name}/test.parquet"),
            )
            if result.is_file()
        },
    )


def _abstention(metrics: dict[str, Any], evaluation: Path) -> dict[str, Any]:
    """What a model that keeps answers back keeps of its promise, and its errors at every coverage."""
    if "abstention" not in metrics:
        return {}
    return {"metrics": metrics["abstention"], "curve": read_table(evaluation / "plots/risk_coverage.csv")}


def _named(ensemble: Params) -> Params:
    """The section of an ensemble without those of its task."""
    return Params({key: value for key, value in ensemble.items() if key not in ("calibration", "evaluation")})


def _chain(task: Task, name: str, entry: dict[str, Any]) -> Model:
    """A chain of two models, which was measured when they were compared."""
    spec = Params(task=task.name, kind=task.spec.kind, learner="chain")
    return Model(name, spec, metrics=entry["metrics"])


def history(folder: Path) -> History:
    """DVCLive's series by name (`dev/auc`); empty for a model that isn't trained in steps."""
    history: History = {}
    for file in sorted(folder.rglob("*.tsv")):
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream, delimiter="\t"))[1:]
        if rows:
            history[file.relative_to(folder).with_suffix("").as_posix()] = [(float(r[-2]), float(r[-1])) for r in rows]
    return history
