"""Read a task's raw files into its table (`python -m stages.convert similarity`)."""

from __future__ import annotations

from pathlib import Path

from retune.data import changes
from retune.data.convert import convert as convert_files
from retune.data.convert import corrections
from retune.params import STATE
from retune.pipeline import earlier
from retune.pipeline.stage import Stage, stage


@stage
def convert(run: Stage, task: str) -> None:
    """Write data/converted/TASK: rows.parquet, rejects.jsonl, conflicts.jsonl, summary.json."""
    spec, raw = run.task(task).convert, Path("data/raw") / task
    kept, changed = earlier.folder("convert", task), list[str]()
    with run.output(f"data/converted/{task}") as folder:
        counts = convert_files(spec, raw, folder, run.scratch(spec), STATE / "rejects" / f"{task}.jsonl")
        if kept:
            changed = changes.rejects(kept / "rejects.jsonl", folder / "rejects.jsonl")
    left_out = f"{counts['left_out']:,} left out by `where`, " if "left_out" in counts else ""
    run.log.info(
        f"{counts['rows']:,} rows from {counts['records']:,} records: {left_out}{counts['rejected']:,} rejected, "
        f"{counts['duplicates']:,} duplicates left out, {counts['conflicts']:,} texts with conflicting labels kept"
    )
    if "corrections" in counts:
        run.log.info(corrections.words(counts["corrections"]))
    for line in changed:
        run.log.info(line)
    earlier.forget("convert", task)


if __name__ == "__main__":
    convert()
