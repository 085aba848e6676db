"""The dev metrics of a training in a copy: while it runs, and when it is done."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.params import STATE

LOWER = ("loss", "mae")
"""Dev metrics of which less is better."""

Curve = list[list[float]]
"""[step, value], in the order of the steps."""


def live(work: Path, model: str, metric: str) -> Curve:
    """What the last checkpoint of a training that goes on tells; the steps of a curriculum's stages go on counting."""
    found: Curve = []
    for scratch in sorted((work / STATE / "scratch/train").glob(f"{model}-*")):
        phases = sorted(scratch.glob("stage-*"), key=lambda path: int(path.name.partition("-")[2])) or [scratch]
        before = 0
        for phase in phases:
            if history := _history(phase):
                found += [[before + one["step"], one[f"eval_{metric}"]] for one in history if f"eval_{metric}" in one]
                before += history[-1]["step"]
    return found


def _history(phase: Path) -> list[dict[str, Any]]:
    """The log of the last whole checkpoint of a folder; empty where there is none, or it goes at this moment."""
    steps = [path for path in phase.glob("checkpoint-*") if path.suffix != ".part"]
    try:
        last = max(steps, key=lambda path: int(path.name.partition("-")[2]))
        found: list[dict[str, Any]] = json.loads((last / "trainer_state.json").read_text(encoding="utf-8"))[
            "log_history"
        ]
    except (ValueError, OSError):
        return []
    return found


def finished(work: Path, model: str) -> dict[str, dict[int, float]]:
    """The curves of a finished training: dev metric -> step -> value."""
    folder = work / "reports/training" / model / "plots/metrics/dev"
    return {file.stem: _read(file) for file in sorted(folder.glob("*.tsv"))}


def _read(file: Path) -> dict[int, float]:
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    return {int(step): float(value) for step, value in (line.split("\t") for line in lines)}


def chosen(work: Path, model: str, metric: str, select: str) -> tuple[int, dict[str, float]]:
    """The step whose checkpoint became the model, and its dev metrics: of a curriculum, those of its last stage.

    Raises `RetuneError` where the training tells no such `metric`, or one that is no number.
    """
    curves = finished(work, model)
    stages = work / "reports/training" / model / "stages.json"
    if stages.is_file() and (entries := json.loads(stages.read_text(encoding="utf-8"))):
        step, metrics = entries[-1]["step"], entries[-1]["metrics"]
    else:
        curve, sign = curves.get(select, {}), 1 if select in LOWER else -1
        step = min(curve, key=lambda step: (sign * curve[step], step), default=0)
        metrics = {name: values[step] for name, values in curves.items() if step in values}
    if metric not in metrics:
        raise RetuneError(
            f"the training of {model} tells no dev {metric}: its record has {', '.join(metrics) or 'none'}"
        )
    if not math.isfinite(metrics[metric]):
        raise RetuneError(f"dev {metric} is no number: dev may lack rows of a label")
    return step, metrics
