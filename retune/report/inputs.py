"""What the report reads: the outputs of the stages before it, and nothing that dvc.yaml doesn't declare for it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from retune.errors import RetuneError
from retune.params import Params

History = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Model:
    """One model of a task: its parameters, its results, and the record of its training."""

    name: str
    spec: Params
    base: Params
    metrics: dict[str, dict[str, float | None]]
    counts: dict[str, int]
    calibration: dict[str, Any]
    confusion: dict[str, Any]
    roc: pl.DataFrame
    pr: pl.DataFrame
    reliability: pl.DataFrame
    uncalibrated: pl.DataFrame | None
    errors: pl.DataFrame
    history: History
    resources: dict[str, Any]
    messages: list[str]

    @property
    def role(self) -> str:
        """`baseline` (linear), `untuned` (a checkpoint as it came), or nothing for a tuned model."""
        if self.spec.learner == "linear":
            return "baseline"
        return "untuned" if self.spec.get("training", {}).get("epochs") == 0 else ""

    def curve(self, *names: str) -> list[tuple[float, float]]:
        """The first of these training series that there is, as (step, value)."""
        return next((self.history[name] for name in names if name in self.history), [])

    @property
    def select(self) -> str:
        """The dev metric that picks the checkpoint; AUC for a learner without steps."""
        return str(self.spec.get("training", {}).get("select", "auc"))

    @cached_property
    def chosen(self) -> tuple[float, float] | None:
        """Step and value of the best evaluation on dev by the metric that picks the checkpoint; first among equals."""
        points = self.curve(f"dev/{self.select}")
        if not points:
            return None
        return min(points, key=lambda p: (p[1] if self.select == "loss" else -p[1], p[0]))


@dataclass(frozen=True)
class Task:
    """One task: where its rows came from, how they were split, its models, and how they compare."""

    name: str
    spec: Params
    converted: dict[str, Any]
    splits: dict[str, Any]
    comparison: dict[str, Any]
    disagreements: pl.DataFrame
    models: list[Model]

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
    return Task(
        name=name,
        spec=spec,
        converted=_json(root / "data/converted" / name / "summary.json"),
        splits=_json(root / "data/splits" / name / "summary.json"),
        comparison=_json(comparisons / "comparison.json"),
        disagreements=_table(comparisons / "disagreements.parquet"),
        models=[_model(params, name, model, root) for model in spec.models],
    )


def _model(params: Params, task: str, name: str, root: Path) -> Model:
    spec = params.models[name]
    measured = _json(root / f"reports/metrics/{name}.json")["test"]
    evaluation, training = root / "reports/evaluations" / task / name, root / "reports/training" / name
    before = evaluation / "reliability_uncalibrated.csv"
    return Model(
        name=name,
        spec=spec,
        base=params.bases[spec.base],
        metrics={key: value for key, value in measured.items() if isinstance(value, dict)},
        counts={key: value for key, value in measured.items() if not isinstance(value, dict)},
        calibration=_json(root / "data/calibrations" / task / f"{name}.json"),
        confusion=_json(evaluation / "confusion.json"),
        roc=_table(evaluation / "roc.csv"),
        pr=_table(evaluation / "pr.csv"),
        reliability=_table(evaluation / "reliability.csv"),
        uncalibrated=_table(before) if before.is_file() else None,
        errors=_table(evaluation / "errors.parquet"),
        history=_history(training / "plots/metrics"),
        resources=_json(training / "resources.json", default={}),
        messages=_json(training / "messages.json", default=[]),
    )


def _json(path: Path, default: Any = None) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if default is not None:
            return default
        raise _missing(path) from None
    except json.JSONDecodeError as error:
        raise RetuneError(f"{path}:{error.lineno} is not JSON ({error.msg}): delete it and run `dvc repro`") from None


def _table(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise _missing(path)
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)


def _missing(path: Path) -> RetuneError:
    return RetuneError(f"{path} is missing: run `dvc repro`, which builds it first")


def _history(folder: Path) -> History:
    """DVCLive's series by name (`dev/auc`); empty for a model that isn't trained in steps."""
    history: History = {}
    for file in sorted(folder.rglob("*.tsv")):
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream, delimiter="\t"))[1:]
        history[file.relative_to(folder).with_suffix("").as_posix()] = [(float(r[-2]), float(r[-1])) for r in rows]
    return history
