"""How a stage runs: its lock, its log, and its end when the process that started it dies.

Nothing here can change what a stage computes, so an edit makes no stage stale (retune.pipeline.fingerprint.UNCOUNTED).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.params import STATE

log = logging.getLogger("retune")


@contextlib.contextmanager
def running(name: str, instance: str) -> Iterator[None]:
    """Hold the lock and keep the log of a stage instance while the block runs; a SIGTERM is a `KeyboardInterrupt`."""
    with contextlib.suppress(ValueError):  # not in the main thread, under some test runners
        signal.signal(signal.SIGTERM, _interrupt)
    with _lock(name, instance), _logging(name, instance):
        die_with_parent()
        yield


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _lock(name: str, instance: str) -> Iterator[None]:
    """An exclusive lock per stage instance, freed by the kernel however the process ends."""
    path = STATE / "locks" / f"{name}-{instance}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            raise RetuneError(
                f"already running in this folder as {stream.read() or 'another process'}; wait or end it"
            ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()} since {time.strftime('%H:%M:%S')}")
        stream.flush()
        yield


@contextlib.contextmanager
def _logging(name: str, instance: str) -> Iterator[None]:
    """Log to the console and to `.retune/logs/STAGE-INSTANCE.log`; the outcome and the duration close the log."""
    path = STATE / "logs" / f"{name}-{instance}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(logging.Formatter("%(message)s"))
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [file, console]
    start = time.monotonic()
    try:
        yield
    except BaseException as error:
        file.handle(log.makeRecord("retune", logging.ERROR, "", 0, f"failed: {error!r}", (), None))
        raise
    else:
        file.handle(
            log.makeRecord("retune", logging.INFO, "", 0, f"done in {time.monotonic() - start:.1f} s", (), None)
        )
    finally:
        log.handlers = []
        file.close()


def die_with_parent() -> None:
    """End this process when DVC, or the shell in between, dies: DVC leaves its stages running when it is killed.

    Only under DVC (which sets DVC_STAGE). A daemon thread watches, since prctl(PR_SET_PDEATHSIG) sees the shell only.
    """
    if "DVC_STAGE" not in os.environ:
        return
    watched = [os.getppid()]
    if _command(watched[0]) in {"sh", "bash", "dash", "zsh"} and (grandparent := _parent(watched[0])) > 1:
        watched.append(grandparent)
    born = {pid: _birth(pid) for pid in watched}

    def watch() -> None:
        while all(_birth(pid) == since for pid, since in born.items()) and os.getppid() == watched[0]:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(1)  # a native call that never returns to Python can't see the signal

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; empty where the process is gone, a zombie, or there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] == "Z" else fields


def _parent(pid: int) -> int:
    return int(fields[1]) if (fields := _stat(pid)) else 0


def _birth(pid: int) -> str:
    """Start time of a process, which tells it from a later one of the same number."""
    return fields[19] if (fields := _stat(pid)) else ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
