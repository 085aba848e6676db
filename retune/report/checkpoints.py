"""The checkpoints of one training side by side, as they were evaluated on dev, and the choice of another one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retune import params, yaml_edit
from retune.errors import RetuneError
from retune.params import STATE
from retune.training import checkpoint_choice

PREFIX = "eval_"


@dataclass(frozen=True)
class Trained:
    """A training's evaluations in order, each `step`, `epoch` and `eval_METRIC`s; `kept` is the model's step.

    `stored` are the steps whose weights stay in this checkout (`training.keep_checkpoints`).
    """

    model: str
    select: str
    evaluations: list[dict[str, Any]]
    kept: int
    stored: set[int]

    @property
    def metrics(self) -> list[str]:
        """Names of the dev metrics, that of the choice first."""
        names = [name.removeprefix(PREFIX) for name in self.evaluations[0] if name.startswith(PREFIX)]
        return sorted(names, key=lambda name: (name != self.select, name))


def read(model: str, root: Path = Path()) -> Trained:
    """What the record of a training and its folder tell; raises `RetuneError` where the model was not trained here."""
    from retune.report import inputs

    folder, spec = root / "reports/training" / model, root / "models" / model / "spec.json"
    history = inputs.history(folder / "plots/metrics")
    rows: dict[int, dict[str, Any]] = {}
    for name, points in history.items():
        for step, value in points:
            rows.setdefault(int(step), {"step": int(step)})[name.replace("dev/", PREFIX)] = value
    evaluations = [rows[step] for step in sorted(rows) if any(name.startswith(PREFIX) for name in rows[step])]
    if not spec.exists() or not evaluations or not evaluations[-1]["step"]:
        known = sorted(path.parents[1].name for path in root.glob("reports/training/*/plots/metrics"))
        raise RetuneError(
            f"there is no record of a training of `{model}`: `dvc repro train@{model}` makes it, `dvc pull` fetches it"
            + (f"; there are: {', '.join(known)}" if known else "")
        )
    options = params.load(spec).training
    last = max(record.get("stage", 1) for record in evaluations)  # the model is that of a curriculum's last stage
    kept = checkpoint_choice.model_record([record for record in evaluations if record.get("stage", 1) == last], options)
    assert kept is not None
    return Trained(model, options.select, evaluations, kept["step"], _stored(model, evaluations, root))


def _stored(model: str, evaluations: list[dict[str, Any]], root: Path) -> set[int]:
    """The steps whose weights are there; a training of other settings may have left its own beside them."""
    told = {record["step"]: record for record in evaluations}
    steps = set()
    for weights in (root / STATE / "scratch/train").glob(f"{model}-{'?' * 16}/checkpoint-*/trained.safetensors"):
        state = json.loads((weights.parent / "trainer_state.json").read_text(encoding="utf-8"))
        last = [record for record in state["log_history"] if any(name.startswith(PREFIX) for name in record)][-1:]
        if any(_same(record, told.get(record["step"], {})) for record in last):
            steps.add(last[0]["step"])
    return steps


def _same(record: dict[str, Any], told: dict[str, Any]) -> bool:
    """Whether two records tell of the same evaluation."""
    names = [name for name in told if name.startswith(PREFIX) and name in record]
    return bool(names) and all(math.isclose(record[name], told[name], rel_tol=1e-6, abs_tol=1e-9) for name in names)


def table(trained: Trained) -> str:
    """A line for each checkpoint; the model's and the best of each metric are marked."""
    best = {name: checkpoint_choice.best_record(trained.evaluations, name)["step"] for name in trained.metrics}
    lines = [["step", "epoch", *(f"dev {name}" for name in trained.metrics), ""]]
    for record in trained.evaluations:
        step = record["step"]
        values = [f"{record[PREFIX + name]:.4f}" + ("*" if best[name] == step else " ") for name in trained.metrics]
        notes = ["the model"] if step == trained.kept else []
        notes += ["weights stored"] if step in trained.stored else []
        lines.append([str(step), f"{record['epoch']:.2f}", *values, ", ".join(notes)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False)) + "  " + line[-1]
        for line in lines
    ]
    return "\n".join(line.rstrip() for line in [*text, f"* best of its column; the choice was by dev {trained.select}"])


def draw(trained: Trained, root: Path = Path()) -> Path:
    """Write a page with a curve for each metric, the model's step marked; its path."""
    from retune.report import charts, curve_page
    from retune.report.figures import Figure

    style = charts.series_style(0, reference=False)
    figures = []
    for name in trained.metrics:
        points = [(float(record["step"]), float(record[PREFIX + name])) for record in trained.evaluations]
        line = charts.Line(points, style, (28.0,) * len(points))
        label = f"dev {name} of {trained.model} by step"
        svg = charts.curves([line], label, "Step", f"Dev {name}", unit=False, height=190, rule=float(trained.kept))
        figures.append(Figure(f"Dev {name}", svg))
    out = root / STATE / "checkpoints" / f"{trained.model}.html"
    note = f"Dashed line: step {trained.kept}, the model."
    return curve_page.write(out, "Checkpoints", trained.model, figures, table(trained), note=note)


def promote(model: str, step: str, root: Path = Path()) -> str:
    """Write `models.MODEL.training.checkpoint` into params.yaml; a sentence of what the next build does.

    Raises `RetuneError` for a step after which this training was not evaluated, and for a curriculum.
    """
    trained = read(model, root)
    steps = [record["step"] for record in trained.evaluations]
    if "stage" in trained.evaluations[0]:
        raise RetuneError(f"{model} is trained by a curriculum, whose stages each begin at the best checkpoint before")
    if step != "best" and (not step.isdigit() or int(step) not in steps):
        raise RetuneError(f"`{step}` is no checkpoint of {model}; there are: {', '.join(map(str, steps))}, best")
    value = step if step == "best" else int(step)
    wanted = checkpoint_choice.best_record(trained.evaluations, trained.select)["step"] if value == "best" else value
    yaml_edit.set_value(root / "params.yaml", ("models", model, "training", "checkpoint"), value)
    said = f"params.yaml: models.{model}.training.checkpoint is {step}; `dvc repro` "
    if wanted in trained.stored:
        return said + f"takes the weights after step {wanted}, which are stored in {STATE}"
    return said + (
        f"trains again, to the same weights, and keeps step {wanted}: they were not stored (training.keep_checkpoints "
        "`all`, or a number, stores them)"
    )
