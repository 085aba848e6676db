"""Run one stage in a copy of the project: its environment, its log, and the end of its whole process group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LOG = ".stage.log"
POLL = 0.05
"""Seconds between two looks at a running stage."""
GRACE = 5.0
"""Seconds in which a stage that is stopped may end itself."""


@dataclass(frozen=True)
class Ran:
    """How a stage ended: its seconds, its exit status, the lines that it printed, whether it was stopped from here."""

    seconds: float
    status: int
    lines: list[str]
    stopped: bool = False

    def last_words(self, count: int) -> list[str]:
        """The last lines that it printed, and the signal that has killed it, if one has."""
        number = -self.status if self.status < 0 else self.status - 128  # of the shell, or of the stage below it
        if number not in set(signal.Signals):
            return self.lines[-count:]
        told = f"killed by {signal.Signals(number).name}"
        if number == signal.SIGKILL:
            told += ", as Linux does where memory runs out"
        return [*self.lines[-count:], told]


def run(
    made: Path,
    address: str,
    command: str,
    *,
    watch: Callable[[float], bool] = lambda _: False,
    environment: Mapping[str, str] = os.environ,
) -> Ran:
    """Run a stage in the copy `made`. `watch` gets the seconds so far, often; where it says yes, the stage is stopped.

    The stage ends with this process, however this ends.
    """
    given = {key: value for key, value in environment.items() if not key.startswith("DVC_")}
    given |= {"PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "true"}
    if os.getpid() != 1:  # whose children look like orphans
        given["DVC_STAGE"] = address  # a stage ends with the process that this says has started it
    log, start, stopped = made / LOG, time.monotonic(), False
    with (
        log.open("wb") as stream,
        subprocess.Popen(
            command,
            shell=True,
            cwd=made,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
        _ended(process),
    ):
        while not stopped and process.poll() is None:
            time.sleep(POLL)
            stopped = watch(time.monotonic() - start)
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return Ran(time.monotonic() - start, process.returncode, lines, stopped)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """See to it that nothing of a stage's process group is left when the block ends."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
