"""Compile params.yaml, the catalogs and the prompts into what stages read (`python -m stages.resolve`)."""

from __future__ import annotations

from pathlib import Path

from retune.errors import RetuneError
from retune.params import RESOLVED
from retune.pipeline import earlier, meanings, reads, seeds, teachers, warm_start
from retune.pipeline import resolve as compiler
from retune.pipeline.stage import Stage, stage
from retune.sources.path import OUTSIDE


@stage
def resolve(run: Stage) -> None:
    """Check and merge everything, print the warnings, write the files."""
    resolution = compiler.resolve(Path())
    for warning in resolution.warnings:
        run.log.warning("warning: %s", warning)
    known = seeds.read()
    written = ((OUTSIDE, resolution.outside), (seeds.FILE, resolution.seeded), (RESOLVED, resolution.resolved))
    for target, content in written:
        with run.output(target) as file:
            file.write_text(reads.dumps(content), encoding="utf-8", newline="\n")
    reads.write(resolution.files)
    teachers.write(resolution.resolved)
    warm_start.write(resolution.resolved)
    meanings.keep(resolution.meanings)
    earlier.keep(resolution.resolved["tasks"])
    if said := seeds.changed(known, resolution.seeded):
        raise RetuneError(said)


if __name__ == "__main__":
    resolve()
