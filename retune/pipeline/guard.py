"""A small process that outlives `dvc repro`, and mends what a kill of DVC leaves behind (retune.pipeline.recovery).

A stage can't do that itself: DVC writes `dvc.lock` when the stage has ended, and reads it before the next one begins.
So the first stage of each run of DVC starts this one, which sleeps until DVC has ended, and ends with it.

Nothing here can change what a stage computes (retune.pipeline.uncounted).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

from retune.errors import RetuneError
from retune.params import STATE
from retune.pipeline import processes, recovery


def watch_over(dvc: int) -> None:
    """Called by a stage: keep `dvc.lock`, and have a process mend what DVC leaves if it is killed after the stage."""
    recovery.keep()
    path = STATE / "locks" / f"dvc-{dvc}"
    with contextlib.suppress(OSError):  # on a full disk the guard is needed all the more
        path.write_text(f"{os.getpid()} {processes.birth(os.getpid())}")
    with contextlib.suppress(OSError):
        with recovery.held(path, 0) as free:
            pass
        if free:
            subprocess.Popen(
                [sys.executable, "-m", "retune.pipeline.guard", str(dvc)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a kill of DVC's group does not reach it
            )


def main() -> None:
    """Wait for the end of DVC, see to it that its stage ends too, and mend."""
    dvc = int(sys.argv[1])
    path = STATE / "locks" / f"dvc-{dvc}"
    with recovery.held(path, 0) as mine, contextlib.suppress(OSError, RetuneError):
        if not mine:
            return
        _wait(dvc)
        pid, _, since = path.read_text().partition(" ") if path.exists() else ("", "", "")
        path.unlink(missing_ok=True)
        end = time.monotonic() + recovery.PATIENCE - 1
        while since and processes.birth(int(pid)) == since:
            if time.monotonic() >= end:  # a native call that holds on to the interpreter
                os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.1)
        for line in recovery.recover():
            print(f"retune: {line}", file=sys.stderr)


def _wait(pid: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # an old kernel, or none of Linux
        select.select([os.pidfd_open(pid)], [], [])
        return
    while processes.birth(pid):
        time.sleep(0.3)


if __name__ == "__main__":
    main()
