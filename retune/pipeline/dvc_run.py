"""One run of DVC under a build's eye: started in a group of its own, read line by line, ended with its stages."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

from retune.pipeline import processes

HINTS = (
    "To track the changes with git",
    "git add ",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
    "Updating lock file",
    "Generating lock file",
    "Stage '",  # didn't change, skipping; is cached, skipping run, checking out outputs
    "Data and pipelines are up to date",
    "Writing model shards",
)
"""How lines of DVC and of libraries begin that say nothing of a build."""

ENDING = ((signal.SIGINT, 4.0), (signal.SIGTERM, 0.5), (signal.SIGKILL, 2.0))
"""How a run of DVC is ended: one signal after the other, and the seconds that it has."""


def start(arguments: list[str], **more: Any) -> subprocess.Popen[bytes]:
    """A `dvc repro` in a process group of its own, with its stages, that ends with this process, however that ends."""
    command = processes.with_parent(["dvc", "--wait-for-lock", "repro", *arguments])
    return subprocess.Popen(command, start_new_session=True, **more)


def end(running: list[subprocess.Popen[bytes]]) -> None:
    """End runs of DVC and their stages: as Ctrl-C does, which DVC lets its stage answer, and then with force."""
    with contextlib.suppress(ValueError):  # not the main thread, which does that itself
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # this is the end already, and takes seconds
    for number, seconds in ENDING:
        for process in running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(_group_lives(process) for process in running):
            time.sleep(0.1)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    """Whether anything is left of a run: DVC, or a stage that it left behind."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a run that say something; so does each drawing of a progress bar, one in ten seconds."""
    assert process.stdout is not None
    for line in io.TextIOWrapper(process.stdout, encoding="utf-8", errors="replace"):
        if said := line.strip():
            if said.startswith(HINTS):
                continue
            # DVC's advice in a conflict of locks would break the build that holds them
            alone = said.startswith("If there are no processes with such PIDs")
            yield "wait for that process or end it, then run this again" if alone else said


def reason(lines: Sequence[str]) -> str:
    """Which stage failed and why, from the last lines of a run: DVC's own, and what the stage said before it."""
    *before, last = lines
    if not (found := re.fullmatch(r"ERROR: failed to reproduce '(.+?)': (.*)", last)):
        return last
    said = before[-1] if before and found[2].startswith("failed to run: ") else found[2]
    return f"{found[1]} failed: {said}"
