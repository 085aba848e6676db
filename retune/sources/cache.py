"""The download cache: every fetched file once per machine, by its hash, shared by all clones.

It lies in `$RETUNE_CACHE` (default `~/.cache/retune`), outside the outputs of the project. An unfinished download stays
there as a partial file, so a killed one goes on where it stopped; locks keep two processes off one file.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from retune import atomic_file
from retune.errors import RetuneError

GIB = 1 << 30


def folder() -> Path:
    """Return the cache folder, created if need be."""
    path = Path(os.environ.get("RETUNE_CACHE") or "~/.cache/retune").expanduser()
    path.mkdir(parents=True, exist_ok=True)
    return path


def file(algorithm: str, digest: str) -> Path:
    """Tell where the file of this hash is, or will be: `sha256/ab/abcd...`."""
    path = folder() / algorithm / digest[:2] / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the exclusive lock of one cached file; waits for another process, and says so."""
    path = folder() / "locks" / target.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            logging.getLogger("retune").info("another process fetches %s: waiting for it", target.name[:16])
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def need_space(where: Path, size: int, what: str) -> None:
    """Raise `RetuneError` where the disk of folder `where` has less than `size` bytes (and 1 % more) free."""
    free = shutil.disk_usage(where).free
    if free < size * 1.01:
        raise RetuneError(
            f"{what} needs {size / GIB:.2f} GiB in {where}, but only {free / GIB:.2f} GiB are free: "
            "free some space, or set RETUNE_CACHE to a folder on another disk"
        )


def copy(source: Path, target: Path) -> None:
    """Copy a cached file to an output, atomically and without sharing it, so that no edit reaches the cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file.replacing(target) as part:
        shutil.copyfile(source, part)
