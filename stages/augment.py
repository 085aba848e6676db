"""Add altered rows to a task's table (`python -m stages.augment similarity`)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from retune.data import kinds
from retune.data.augmentation.methods import augment as augmented
from retune.data.augmentation.methods import clashing
from retune.pipeline.stage import Stage, stage


@stage
def augment(run: Stage, task: str) -> None:
    """Write data/augmented/TASK/rows.parquet: the rows of data/converted/TASK and altered ones."""
    spec = run.task(task).augmentation
    kind = kinds.of(spec.kind)
    rows = pl.scan_parquet(f"data/converted/{task}/rows.parquet")
    scratch = run.scratch(spec)
    files: list[Path] = []
    for part in augmented(rows, spec, kind):
        files.append(scratch / f"{len(files)}.parquet")
        part.sink_parquet(files[-1])
    every = pl.scan_parquet(files)
    clashes = clashing(every, kind) if len(files) > 1 else pl.Series([], dtype=pl.String)
    if len(clashes):
        run.log.info(f"{len(clashes):,} altered rows are left out: another row has their texts")
        every = every.filter(~pl.col("id").is_in(clashes.implode()))
    with run.output(f"data/augmented/{task}") as folder:
        every.sink_parquet(folder / "rows.parquet")
        counts = pl.scan_parquet(folder / "rows.parquet").group_by("origin").len().sort("origin").collect()
    run.log.info("rows by origin: " + ", ".join(f"{origin} {count:,}" for origin, count in counts.iter_rows()))


if __name__ == "__main__":
    augment()
