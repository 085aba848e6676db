"""Curriculum learning: training phases, each from the weights of the one before, on its own dimensions and groups.

A phase is a training of its own: its epochs, its schedule from warm-up to end, its choice of the checkpoint, its folder
for unfinished work. All phases are measured on the same dev rows. A phase's `data_ratio` keeps the groups whose hash
lies below it, so that a smaller share is a part of a larger one. Without a curriculum there is one phase. In the record
of a training and in its files a phase is called `stage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune import stable_hash
from retune.errors import RetuneError
from retune.params import Params
from retune.training import checkpoint_choice, job
from retune.training.record import Training

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Phase:
    """One phase: its rows and its spec; `entry` is its entry in the curriculum, None where there is none."""

    number: int  # from 1
    spec: Params
    rows: pl.DataFrame
    entry: Mapping[str, Any] | None = None

    def folder(self, scratch: Path) -> Path:
        """Where its unfinished work is kept."""
        return scratch / f"stage-{self.number}" if self.entry else scratch

    @property
    def description(self) -> str:
        """The phase in words."""
        assert self.entry is not None
        share = f", {self.entry['data_ratio']:.0%} of the groups" if self.entry["data_ratio"] < 1 else ""
        epochs = f"{self.entry['epochs']:g} epoch{'s' if self.entry['epochs'] != 1 else ''}"
        return f"{self.entry['name']} ({', '.join(self.entry['dimensions'])}{share}; {epochs}, {len(self.rows)} rows)"


def rows_of_model(spec: Params, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the dimensions that the model is for: the `dimensions` of the model, or all."""
    return _of_dimensions(rows, spec["train_dimensions"]) if spec.get("train_dimensions") else rows


def phases(spec: Params, train: pl.DataFrame) -> list[Phase]:
    """The phases of a model's training; raises `RetuneError` for one without rows."""
    train = rows_of_model(spec, train)
    if not spec.get("curriculum"):
        return [Phase(1, spec, job.choose_rows(train, spec.training.max_rows, spec.seed))]
    found: list[Phase] = []
    for number, entry in enumerate(spec.curriculum, 1):
        share = stable_hash.units(pl.col("group"), "stage", spec.seed) < entry["data_ratio"]
        rows = _of_dimensions(train, entry["dimensions"]).filter(share)
        if rows.is_empty():
            wanted = f"{', '.join(entry['dimensions'])} with data_ratio {entry['data_ratio']:g}"
            raise RetuneError(f"stage {entry['name']} of the curriculum has no training row: {wanted}")
        options = Params(spec.training | {"epochs": entry["epochs"]})
        rows = job.choose_rows(rows, spec.training.max_rows, spec.seed)
        found.append(Phase(number, Params(spec | {"training": options}), rows, entry))
    return found


def merged_record(phases: Sequence[Phase], records: Sequence[Training]) -> Training:
    """One record of all phases; steps and epochs go on counting, and each history record knows its `stage`."""
    if phases[0].entry is None:
        return records[0]
    history: list[dict[str, Any]] = []
    messages, warnings, entries = [], [], []
    step, epoch = 0, 0.0
    for phase, record in zip(phases, records, strict=True):
        assert phase.entry is not None
        model = checkpoint_choice.model_record(record.history, phase.spec.training)
        assert model is not None
        for one in record.history:
            history.append(
                one | {"step": step + one["step"], "epoch": round(epoch + one["epoch"], 4), "stage": phase.number}
            )
        metrics = {name.removeprefix("eval_"): value for name, value in model.items() if name.startswith("eval_")}
        entries.append({**phase.entry, "rows": len(phase.rows), "step": step + model["step"], "metrics": metrics})
        messages += [f"Stage {phase.description}: {message}" for message in record.messages]
        warnings += [f"Stage {phase.description}: {warning}" for warning in record.warnings]
        step, epoch = step + record.history[-1]["step"], epoch + record.history[-1]["epoch"]
    sentences = {"messages": messages, "warnings": warnings}
    return replace(records[-1], history=history, resources=_total_resources(records), stages=entries, **sentences)


def _total_resources(records: Sequence[Training]) -> dict[str, Any]:
    """The resources of all phases: sums of times, rows and tokens, the peak of the memory."""
    total = dict(records[-1].resources)
    for name in ("seconds", "training_seconds", "tokens", "rows"):
        total[name] = round(sum(record.resources[name] for record in records), 1)
    total["tokens_per_second"] = round(total["tokens"] / max(total["training_seconds"], 1e-9), 1)
    total["peak_memory_gib"] = max(record.resources["peak_memory_gib"] for record in records)
    return total


def _of_dimensions(rows: pl.DataFrame, dimensions: Sequence[str]) -> pl.DataFrame:
    return rows.filter(pl.col("dimension").cast(pl.String).is_in(list(dimensions)))
