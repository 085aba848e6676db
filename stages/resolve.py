"""Compile params.yaml, the catalogs and the prompts into params-resolved.json (`python -m stages.resolve`)."""

from __future__ import annotations

from pathlib import Path

from retune.params import RESOLVED
from retune.pipeline import resolve as compiler
from retune.pipeline.stage import Stage, stage


@stage
def resolve(run: Stage) -> None:
    """Check and merge everything, print the warnings, write the file."""
    resolution = compiler.resolve(Path())
    for warning in resolution.warnings:
        run.log.warning("warning: %s", warning)
    with run.output(RESOLVED) as file:
        file.write_text(compiler.dumps(resolution.resolved), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    resolve()
