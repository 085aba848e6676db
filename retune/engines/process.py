"""The engine's own process: started without a word of ours in its command line that others must not read, and ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from retune.errors import RetuneError

GRACE = 30.0
"""Seconds that an engine has to end, before it is killed."""


class Engine:
    """A running engine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.ending = process, False

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def watch(self, died: Callable[[], object]) -> None:
        """Call `died` from a thread when it ends and nobody asked it to."""

        def wait() -> None:
            self.process.wait()
            if not self.ending:
                died()

        threading.Thread(target=wait, name="engine", daemon=True).start()


def program(name: str, install: str) -> str:
    """The path of an engine's program: beside this Python, or on the PATH. Raises `RetuneError` with `install`."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if not found:
        raise RetuneError(install)
    return found


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Engine]:
    """An engine while the block runs; what it says goes to stderr.

    At the end of the block, and where this process is told to end before, it gets SIGTERM and is waited for. A session
    of its own keeps Ctrl-C from it: it ends after what it still has to answer.
    """
    before = signal.signal(signal.SIGTERM, _end)
    process = subprocess.Popen(
        list(command),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
    )
    engine = Engine(process)
    try:
        yield engine
    finally:
        engine.ending = True
        end(process)
        signal.signal(signal.SIGTERM, before)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to all of its processes after `GRACE`."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
