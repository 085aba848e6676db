"""Fetch the data of one task, as its source has it (`python -m stages.download similarity`)."""

from __future__ import annotations

from retune.pipeline.stage import Stage, stage
from retune.sources.fetch import fetch


@stage
def download(run: Stage, task: str) -> None:
    """Write data/raw/TASK: the files, and SOURCE.json with origin, licence and hashes."""
    with run.output(f"data/raw/{task}") as folder:
        fetch(run.task(task).source, folder, run.log)


if __name__ == "__main__":
    download()
