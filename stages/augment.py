"""Add altered rows to a task's table (`python -m stages.augment similarity`)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from retune import tasks
from retune.augment import augment as augmented
from retune.stage import Stage, stage


@stage
def augment(run: Stage, task: str) -> None:
    """Write data/augmented/TASK/rows.parquet: the rows of data/converted/TASK and altered ones."""
    spec = run.task(task).augmentation
    rows = pl.scan_parquet(f"data/converted/{task}/rows.parquet")
    scratch = run.scratch(spec)
    files: list[Path] = []
    for part in augmented(rows, spec, tasks.of(spec.kind)):
        files.append(scratch / f"{len(files)}.parquet")
        part.sink_parquet(files[-1])
    with run.output(f"data/augmented/{task}") as folder:
        pl.scan_parquet(files).sink_parquet(folder / "rows.parquet")
        counts = pl.scan_parquet(folder / "rows.parquet").group_by("origin").len().sort("origin").collect()
    run.log.info("rows by origin: " + ", ".join(f"{origin} {count:,}" for origin, count in counts.iter_rows()))


if __name__ == "__main__":
    augment()
