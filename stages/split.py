"""Divide a task's rows into train, dev, calibration and test (`python -m stages.split similarity`)."""

from __future__ import annotations

import json

import polars as pl

from retune import tasks
from retune.split import SPLITS, assign, check, official_splits, summary
from retune.stage import Stage, stage


@stage
def split(run: Stage, task: str) -> None:
    """Write data/splits/TASK: one Parquet file per split, and summary.json."""
    spec = run.task(task).split
    rows = pl.scan_parquet(f"data/augmented/{task}/rows.parquet")
    official, kind = official_splits(rows), tasks.of(spec.kind)
    for name in sorted(official):
        run.log.info(
            f"the source brings its own {name} split, so the share `split.{name}` of the other rows goes to train"
        )
    assigned = run.scratch(spec) / "assigned.parquet"
    assign(rows, spec, official).sink_parquet(assigned)
    parts = pl.scan_parquet(assigned)
    counts = summary(parts, rows, spec, official, kind)
    check(counts)
    with run.output(f"data/splits/{task}") as folder:
        for name in SPLITS:
            parts.filter(pl.col("split") == name).drop("split").sink_parquet(folder / f"{name}.parquet")
        (folder / "summary.json").write_text(json.dumps(counts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    sizes = (f"{name} {entry['rows']:,} ({entry['positives']:,} positive)" for name, entry in counts["splits"].items())
    run.log.info(", ".join(sizes))
    if common := {names: count for names, count in counts["shared_texts"].items() if count}:
        run.log.info("texts that two splits share: " + ", ".join(f"{names}: {n:,}" for names, n in common.items()))


if __name__ == "__main__":
    split()
