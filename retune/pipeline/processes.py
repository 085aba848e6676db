"""What the kernel knows of other processes: whether one lives, since when, whose child it is.

Zombies count as dead: in a container without an init nobody ever takes them away. Nothing here can change what a stage
computes (retune.pipeline.uncounted).

`python -m retune.pipeline.processes COMMAND ...` becomes the command, which the kernel ends when its parent dies.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""

INITS = {"init", "systemd", "tini", "dumb-init", "docker-init", "catatonit"}
"""Names of programs that orphans are given to."""


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; empty where the process is gone, a zombie, or there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def parent(pid: int) -> int:
    """The number of its parent; 0 where it is gone."""
    return int(fields[1]) if (fields := stat(pid)) else 0


def birth(pid: int) -> str:
    """Start time of a process, which tells it from a later one of the same number; empty where it is gone."""
    return fields[19] if (fields := stat(pid)) else ""


def name(pid: int) -> str:
    """The first 15 characters of the program's name; empty where the process is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def adopts(pid: int) -> bool:
    """Whether a parent of this number is one that got its child when the real parent died."""
    return (pid == 1 or name(pid) in INITS) and "dvc" not in command_line(pid)


def command_line(pid: int) -> str:
    """The words of its command; empty where it is gone or a zombie."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return words.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")


def runs(pid: int, command: str) -> bool:
    """Whether the process lives and is still the one that said of itself (`sys.argv`) that it runs `command`."""
    if not Path("/proc/self").exists():  # no Linux: a number taken by another process can't be told from it
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    now = command_line(pid)
    arguments = command.partition(" ")[2]
    same = not now or "dvc" in now or (arguments and now.endswith(arguments))  # empty: it becomes a program just now
    return bool(stat(pid) and same)


def with_parent(command: list[str]) -> list[str]:
    """The command line that runs `command` until it ends, or this process does (where there is prctl)."""
    return [sys.executable, "-m", "retune.pipeline.processes", str(os.getpid()), *command]


def main() -> None:
    """Ask for SIGTERM when the parent dies, and become the command."""
    started_by, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != started_by:
        sys.exit("the process that started this one has ended")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
