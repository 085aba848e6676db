"""Look at a task's splits before training (`python -m stages.explore similarity`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from retune.data import kinds, leaks
from retune.data.split import SPLITS
from retune.pipeline.stage import Stage, stage
from retune.report.exploration import explore as explored
from retune.report.exploration import page, wrong_labels

if TYPE_CHECKING:
    from retune.doubts.doubtful_rows import Doubts
    from retune.params import Params


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
    doubts = _doubts(frames["train"], spec)
    if doubts:
        found["doubts"] = wrong_labels.shown(frames["train"], doubts.table, doubts.summary, kinds.of(spec.kind))
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


def _doubts(train: pl.LazyFrame, spec: Params) -> Doubts | None:
    """The training rows whose label is in doubt; None where nobody looks for them."""
    if not spec.get("doubts"):
        return None
    from retune.doubts import doubtful_rows  # scikit-learn takes longer to import than the rest of the stage to run

    return doubtful_rows.find(train, spec, Path("models/bases"))


if __name__ == "__main__":
    explore()
