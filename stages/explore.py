"""Look at a task's splits before training (`python -m stages.explore similarity`)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from retune.data import kinds, leaks
from retune.data.split import SPLITS
from retune.doubts import doubtful_rows
from retune.pipeline.stage import Stage, stage
from retune.report.exploration import explore as explored
from retune.report.exploration import page, wrong_labels


@stage
def explore(run: Stage, task: str) -> None:
    """Write reports/explore/TASK: exploration.json, which the report reads, the page index.html, and doubts.parquet."""
    spec = run.task(task).exploration
    frames = {name: pl.scan_parquet(run.split_file(task, name)) for name in SPLITS}
    found = explored(frames, spec, kinds.of(spec.kind), Path("models/bases"))
    counts = json.loads(Path(f"data/splits/{task}/summary.json").read_text(encoding="utf-8"))
    if said := leaks.warning(counts):
        for place in ("leaks", "warnings"):
            found[place].insert(0, said)
    doubts = doubtful_rows.find(frames["train"], spec, Path("models/bases")) if spec.get("doubts") else None
    found["doubts"] = (
        wrong_labels.shown(frames["train"], doubts.table, doubts.summary, kinds.of(spec.kind)) if doubts else None
    )
    found["facts"].append(wrong_labels.fact(found["doubts"], spec))
    with run.output(f"reports/explore/{task}") as folder:
        text = json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False)
        (folder / "exploration.json").write_text(text + "\n", encoding="utf-8")
        if doubts:
            doubts.table.write_parquet(folder / "doubts.parquet")
        (folder / "index.html").write_text(page.render(task, found), encoding="utf-8")
    for fact in found["facts"]:
        run.log.info(fact)
    for warning in found["warnings"]:
        run.log.warning("warning: %s", warning)


if __name__ == "__main__":
    explore()
