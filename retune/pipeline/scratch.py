"""The folders of unfinished work: which one is a stage's, and which go.

An experiment in a folder of its own has its work in the project's `.retune`: the folder that DVC makes for it is lost
when it is killed, and any later run of the same work goes on from there.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import IO

from retune.params import project_state

KEPT = 3
"""How many folders of other work (another specification, code or datum) of the same stage instance stay."""


def claim(stage: str, instance: str, digest: str) -> tuple[Path, IO[bytes]]:
    """The folder for work of this fingerprint, and what holds it against other runs until it is closed.

    Where a run of the same work lives (of an experiment beside the build), it is another folder, and begins anew.
    """
    state = project_state()
    number, name = 0, f"{instance}-{digest}"
    while not (held := _hold(folder := state / "scratch" / stage / name)):
        number += 1
        name = f"{instance}-{digest}.{number}"
    _forget(folder, instance)
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    return folder, held


def release(folder: Path, held: IO[bytes]) -> None:
    """Remove a folder whose work is done."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(held.name).unlink(missing_ok=True)
    held.close()


def _hold(folder: Path) -> IO[bytes] | None:
    path = folder.parents[2] / "locks" / f"scratch-{folder.parent.name}-{folder.name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream


def _forget(mine: Path, instance: str) -> None:
    """Remove the oldest folders of other work that no run holds."""
    name = re.compile(re.escape(instance) + r"-[0-9a-f]{16}(\.\d+)?")
    others = [path for path in mine.parent.glob("*") if path != mine and name.fullmatch(path.name)]
    for folder in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        if held := _hold(folder):
            release(folder, held)
