"""How a stage runs: its lock, its log, and its end when the process that started it dies.

Nothing here can change what a stage computes, so an edit makes no stage stale (retune.pipeline.uncounted).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from retune.errors import RetuneError
from retune.params import STATE
from retune.pipeline import guard, processes, recovery

log = logging.getLogger("retune")
logging.raiseExceptions = False  # a log that can't be written, on a full disk, must not hide the error itself

ENDING = {signal.SIGINT, signal.SIGTERM}
SHELLS = {"sh", "bash", "dash", "zsh"}

GRACE = 3.0
"""Seconds from a signal to the end of a stage that does not end itself."""


@contextlib.contextmanager
def running(name: str, instance: str) -> Iterator[None]:
    """Hold the lock and keep the log of a stage instance while the block runs; a SIGTERM is a `KeyboardInterrupt`."""
    with contextlib.suppress(ValueError):  # not in the main thread, under some test runners
        signal.signal(signal.SIGTERM, _interrupt)
    with _lock(name, instance), _logging(name, instance), die_with_parent():
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


@contextlib.contextmanager
def die_with_parent() -> Iterator[None]:
    """End this process when DVC, or the shell in between, dies, and soon after a signal to end.

    DVC leaves its stages running when it is killed; prctl(PR_SET_PDEATHSIG) would see the shell only. A native call
    sees no signal until it returns to Python: a daemon thread hears it too, and ends what still goes on after `GRACE`.
    """
    watched = []
    if "DVC_STAGE" in os.environ:
        watched = [os.getppid()]
        if processes.name(watched[0]) in SHELLS and (grandparent := processes.parent(watched[0])) > 1:
            watched.append(grandparent)
        if processes.adopts(watched[-1]):  # DVC died while this process imported its modules
            for line in recovery.recover():
                log.info(line)
            raise KeyboardInterrupt
        guard.watch_over(watched[-1])
    born = {pid: processes.birth(pid) for pid in watched}
    heard, said = os.pipe()
    os.set_blocking(said, False)
    with contextlib.suppress(ValueError):  # not in the main thread, under some test runners
        signal.set_wakeup_fd(said, warn_on_full_buffer=False)
    done = threading.Event()

    def orphaned() -> bool:
        return bool(born) and (os.getppid() != watched[0] or any(processes.birth(p) != b for p, b in born.items()))

    def watch() -> None:
        while not done.is_set():
            if orphaned():
                os.kill(os.getpid(), signal.SIGTERM)
                break
            if select.select([heard], [], [], 0.5)[0] and ENDING & set(os.read(heard, 64)):
                break
        if not done.wait(GRACE):
            with contextlib.suppress(OSError):
                os.write(2, b"stopped within a call that hears no signal; run `dvc repro` to go on\n")
            os._exit(1)
        os.close(heard)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
    yield
    done.set()  # not after an error: what it leaves behind must not go on either
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
    os.close(said)
