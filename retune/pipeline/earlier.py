"""What lay in the place of an output before a build, so that its stage can tell what is different now.

DVC removes the outputs of a stage before it runs. `resolve` comes before every stage whose inputs changed, and finds
them as they were built, pulled or checked out: it links the files below into `.retune`. A stage that has told what is
different takes them away. They are for the log alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from retune.atomic_file import replacing
from retune.params import STATE

FOLDER = STATE / "earlier"

KEPT = {
    "convert": ("data/converted", ("rejects.jsonl",)),
    "split": ("data/splits", tuple(f"{name}.parquet" for name in ("train", "dev", "calibration", "test"))),
}
"""Stage -> the folder of its outputs, one for each task, and the files in them that are kept."""


def keep(tasks: Collection[str]) -> None:
    """Keep the outputs that these tasks have now; where one has none, what was kept before stays."""
    for stage, (outputs, names) in KEPT.items():
        for other in (FOLDER / stage).glob("*"):
            if other.name not in tasks:
                forget(stage, other.name)
        for task in tasks:
            found = [Path(outputs) / task / name for name in names]
            if all(file.is_file() for file in found):
                to = FOLDER / stage / task
                to.mkdir(parents=True, exist_ok=True)
                for file in found:
                    _link(file.resolve(), to / file.name)


def _link(file: Path, to: Path) -> None:
    """A hard link, since an output is replaced and never written into; a copy on another file system."""
    if to.is_file() and _state(file) == _state(to):
        return
    to.unlink(missing_ok=True)
    try:
        os.link(file, to)
    except OSError:
        with replacing(to) as part:
            shutil.copy2(file, part)


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def folder(stage: str, task: str) -> Path | None:
    """The kept files of an output; None where there are none."""
    found = FOLDER / stage / task
    return found if all((found / name).is_file() for name in KEPT[stage][1]) else None


def forget(stage: str, task: str) -> None:
    """Take them away."""
    shutil.rmtree(FOLDER / stage / task, ignore_errors=True)
