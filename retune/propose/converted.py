"""The rows that the build would make of a proposal, by the build's own conversion, and what is to be known of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retune.data import kinds
from retune.data.convert import convert
from retune.errors import RetuneError
from retune.params import loads
from retune.pipeline.schema.catalog import Source
from retune.propose.draft import Draft

FORGIVEN = 0.01
"""`max_rejects` where a task does not say it."""


@dataclass(frozen=True)
class Converted:
    """The table of a task, the summary of its conversion, and the reasons of its first rejects."""

    rows: pl.DataFrame
    summary: dict[str, Any]
    rejects: list[dict[str, Any]]


def converted(draft: Draft, scratch: Path) -> Converted:
    """Convert all files as the proposal says. Raises `RetuneError` where no record becomes a row."""
    out = scratch / "out"
    out.mkdir(parents=True)
    source = Source.model_validate(draft.source).model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    task = draft.task
    kind = kinds.of(task["kind"])
    labels = task.get("labels") or list(getattr(kind, "LABELS", ()))
    if task["kind"] == "scoring":
        low, high = task["scores"]
        labels = [str(score) for score in range(low, high + 1)]
    said: dict[str, Any] = {key: task[key] for key in ("reasoning", "scores", "dimensions") if key in task}
    spec: dict[str, Any] = {
        "kind": task["kind"],
        "labels": labels,
        "source": draft.name,
        "tables": source["tables"],
        **said,
    }
    spec["max_rejects"] = 1.0
    summary = convert(loads(json.dumps(spec)), draft.folder, out, scratch / "work", scratch / "rejects.jsonl")
    rejects = []
    with (out / "rejects.jsonl").open(encoding="utf-8") as stream:
        for line, _ in zip(stream, range(3), strict=False):
            rejects.append(json.loads(line))
    rows = pl.read_parquet(out / "rows.parquet")
    if len(rows) < 10:
        raise RetuneError(f"{len(rows)} rows are left of {summary['records']:,} records: too few for a task")
    return Converted(rows, summary, rejects)


def forgive(draft: Draft, found: Converted) -> None:
    """Let the task forgive the records that its own files have too many of, so that the build does not stop."""
    share = found.summary["rejected"] / max(found.summary["records"], 1)
    if share > FORGIVEN:
        draft.task["max_rejects"] = min(1.0, round(share * 1.2 + 0.01, 2))


def prune(draft: Draft, found: Converted) -> None:
    """Leave out labels that no row has any more, and order the others by their counts."""
    if "labels" in draft.task:
        counts = found.summary["targets"]
        draft.task["labels"] = sorted(
            (label for label in draft.task["labels"] if counts.get(label)), key=lambda label: -counts[label]
        )
