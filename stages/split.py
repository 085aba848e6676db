"""Divide a task's rows into train, dev, calibration and test (`python -m stages.split similarity`)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from retune.data import changes, connected, kinds, leaks
from retune.data.balance import balanced
from retune.data.split import SPLITS, assign, check, official_splits, reduced, summary
from retune.pipeline import earlier
from retune.pipeline.stage import Stage, stage

LISTED = 12  # values of the target in the log


@stage
def split(run: Stage, task: str) -> None:
    """Write data/splits/TASK: one Parquet file per split, and summary.json."""
    spec = run.task(task).split
    rows = pl.scan_parquet(f"data/augmented/{task}/rows.parquet")
    official, kind = official_splits(rows), kinds.of(spec.kind)
    for name in sorted(official):
        run.log.info(
            f"the source brings its own {name} split, so the share `split.{name}` of the other rows goes to train"
        )
    to_train: list[str] = []
    if spec.get("groups", "rows") == "connected":
        found = connected.components(rows, kind)
        rows, to_train = connected.regrouped(rows, found), found.large
        run.log.info(f"groups connected: {_groups(found)}")
        if to_train:
            run.log.warning(
                f"warning: {found.large_rows:,} rows are connected by their texts to components of more than "
                f"{connected.LARGE:.0%} of the rows, which go to train as a whole"
            )
    assigned = run.scratch(spec) / "assigned.parquet"
    assign(rows, spec, official, to_train).sink_parquet(assigned)
    parts = pl.scan_parquet(assigned)
    left_out, before, dropped = _count(rows) - _count(parts), _count(parts), 0
    if spec.get("drop_shared", False):
        parts = leaks.without(parts, kind)
        dropped, before = before - _count(parts), _count(parts)
        run.log.info(f"drop_shared: {dropped:,} training rows with a text of another split are left out")
    if spec.get("data_ratio", 1.0) < 1:
        parts = reduced(parts, spec)
        run.log.info(f"data_ratio {spec.data_ratio:g}: {_count(parts):,} of {before:,} rows stay, less of train alone")
        before = _count(parts)
    if spec.get("balance", "none") != "none":
        parts = pl.concat(balanced(parts, spec, kind))
        run.log.info(
            f"balance {spec.balance}: {before:,} rows become {_count(parts):,}, all others than train as before"
        )
    counts = summary(parts, left_out, spec, official, kind, dropped)
    check(counts, kind)
    kept, changed = earlier.folder("split", task), None
    with run.output(f"data/splits/{task}") as folder:
        for name in SPLITS:
            parts.filter(pl.col("split") == name).drop("split").sink_parquet(folder / f"{name}.parquet")
        (folder / "summary.json").write_text(json.dumps(counts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        if kept:
            changed = changes.changes(_scanned(kept), _scanned(folder), kind)
    for name, entry in counts["splits"].items():
        targets = ", ".join(f"{target} {count:,}" for target, count in list(entry["targets"].items())[:LISTED])
        more = f", and {len(entry['targets']) - LISTED} more" if len(entry["targets"]) > LISTED else ""
        run.log.info(f"{name}: {entry['rows']:,} rows by {kind.TARGET}: {targets}{more}")
    for line in changes.sentences(changed, kind) if changed else ():
        run.log.info(line)
    earlier.forget("split", task)
    labels = spec.get("labels", []) if kind.TARGET == "label" else []
    missing = [target for target in labels if target not in counts["splits"]["train"]["targets"]]
    if missing:
        run.log.warning(f"no training row has the label {', '.join(missing)}; no model can learn it")
    if common := {names: count for names, count in counts["shared_texts"].items() if count}:
        run.log.info("texts that two splits share: " + ", ".join(f"{names}: {n:,}" for names, n in common.items()))
    if common := {names: count for names, count in counts["shared_groups"].items() if count}:
        run.log.info("groups that two splits share: " + ", ".join(f"{names}: {n:,}" for names, n in common.items()))
    if said := leaks.warning(counts):
        run.log.warning("warning: %s", said)
    elif said := leaks.shares(counts):
        run.log.info(f"{said} share a text with a training row")


def _scanned(folder: Path) -> dict[str, pl.LazyFrame]:
    return {name: pl.scan_parquet(folder / f"{name}.parquet") for name in SPLITS}


def _groups(found: connected.Components) -> str:
    return f"{found.groups.height:,} groups become {found.groups['component'].n_unique():,}, none shares a text"


def _count(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())


if __name__ == "__main__":
    split()
