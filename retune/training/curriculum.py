"""Training in stages, each from the weights of the one before, on its own dimensions and its own share of the groups.

A stage is a training of its own: its epochs, its schedule from warm-up to end, its choice of the checkpoint, its folder
for unfinished work. All stages are measured on the same dev rows. A stage's `data_ratio` keeps the groups whose hash
lies below it, so that a smaller share is a part of a larger one. Without a curriculum there is one stage.
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
class Stage:
    """One stage: its rows and its spec; `entry` is its entry in the curriculum, None where there is none."""

    number: int  # from 1
    spec: Params
    rows: pl.DataFrame
    entry: Mapping[str, Any] | None = None

    def folder(self, scratch: Path) -> Path:
        """Where its unfinished work is kept."""
        return scratch / f"stage-{self.number}" if self.entry else scratch

    @property
    def said(self) -> str:
        """The stage in words."""
        assert self.entry is not None
        share = f", {self.entry['data_ratio']:.0%} of the groups" if self.entry["data_ratio"] < 1 else ""
        epochs = f"{self.entry['epochs']:g} epoch{'s' if self.entry['epochs'] != 1 else ''}"
        return f"{self.entry['name']} ({', '.join(self.entry['dimensions'])}{share}; {epochs}, {len(self.rows)} rows)"


def trained_on(spec: Params, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the dimensions that the model is for: the `dimensions` of the model, or all."""
    return _of(rows, spec["train_dimensions"]) if spec.get("train_dimensions") else rows


def stages(spec: Params, train: pl.DataFrame) -> list[Stage]:
    """The stages of a model; raises `RetuneError` for one without rows."""
    train = trained_on(spec, train)
    if not spec.get("curriculum"):
        return [Stage(1, spec, job.choose_rows(train, spec.training.max_rows, spec.seed))]
    found = []
    for number, entry in enumerate(spec.curriculum, 1):
        share = stable_hash.units(pl.col("group"), "stage", spec.seed) < entry["data_ratio"]
        rows = _of(train, entry["dimensions"]).filter(share)
        if rows.is_empty():
            said = f"{', '.join(entry['dimensions'])} with data_ratio {entry['data_ratio']:g}"
            raise RetuneError(f"stage {entry['name']} of the curriculum has no training row: {said}")
        options = Params(spec.training | {"epochs": entry["epochs"]})
        rows = job.choose_rows(rows, spec.training.max_rows, spec.seed)
        found.append(Stage(number, Params(spec | {"training": options}), rows, entry))
    return found


def together(stages: Sequence[Stage], records: Sequence[Training]) -> Training:
    """One record of all stages; steps and epochs go on counting, and each history record knows its `stage`."""
    if stages[0].entry is None:
        return records[0]
    history: list[dict[str, Any]] = []
    messages, entries = [], []
    step, epoch = 0, 0.0
    for stage, record in zip(stages, records, strict=True):
        assert stage.entry is not None
        kept = checkpoint_choice.kept_record(record.history, stage.spec.training)
        assert kept is not None
        for one in record.history:
            history.append(
                one | {"step": step + one["step"], "epoch": round(epoch + one["epoch"], 4), "stage": stage.number}
            )
        metrics = {name.removeprefix("eval_"): value for name, value in kept.items() if name.startswith("eval_")}
        entries.append({**stage.entry, "rows": len(stage.rows), "step": step + kept["step"], "metrics": metrics})
        messages += [f"Stage {stage.said}: {message}" for message in record.messages]
        step, epoch = step + record.history[-1]["step"], epoch + record.history[-1]["epoch"]
    return replace(records[-1], history=history, resources=_sum(records), messages=messages, stages=entries)


def _sum(records: Sequence[Training]) -> dict[str, Any]:
    """The resources of all stages: sums of times, rows and tokens, the peak of the memory."""
    found = dict(records[-1].resources)
    for name in ("seconds", "training_seconds", "tokens", "rows"):
        found[name] = round(sum(record.resources[name] for record in records), 1)
    found["tokens_per_second"] = round(found["tokens"] / max(found["training_seconds"], 1e-9), 1)
    found["peak_memory_gib"] = max(record.resources["peak_memory_gib"] for record in records)
    return found


def _of(rows: pl.DataFrame, dimensions: Sequence[str]) -> pl.DataFrame:
    return rows.filter(pl.col("dimension").cast(pl.String).is_in(list(dimensions)))
