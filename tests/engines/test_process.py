"""An engine's process: found or told how to install, watched, and ended with all that it started."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from retune.engines import process
from retune.errors import RetuneError


def test_a_program_that_is_missing_is_told_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RetuneError, match=r"^install it so$"):
        process.program("no-such-engine", "install it so")
    file = tmp_path / "no-such-engine"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    assert process.program("no-such-engine", "install it so") == str(file)


def test_it_ends_with_the_block(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"trap 'echo ended > {said}; exit 0' TERM; echo $TOKEN > {said}.token; while :; do sleep 0.05; done"
    with process.running(["sh", "-c", script], {"TOKEN": "secret"}) as engine:
        while not Path(f"{said}.token").is_file():
            time.sleep(0.01)
        assert engine.alive()
    assert not engine.alive()
    assert said.read_text() == "ended\n"
    assert Path(f"{said}.token").read_text() == "secret\n"


def test_one_that_does_not_end_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.3)
    pid = tmp_path / "pid"
    script = f"trap '' TERM; sleep 60 & echo $! > {pid}; while :; do sleep 0.05; done"
    with process.running(["sh", "-c", script], {}):
        while not (pid.is_file() and pid.read_text()):
            time.sleep(0.01)
    time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0) if not _is_zombie(int(pid.read_text())) else os.kill(2**22, 0)


def _is_zombie(pid: int) -> bool:
    """Whether it is dead and only waits to be read by whoever inherits it."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_an_end_that_nobody_asked_for_is_told() -> None:
    died = threading.Event()
    with process.running(["sh", "-c", "exit 3"], {}) as engine:
        engine.watch(died.set)
        assert died.wait(10)
    asked = threading.Event()
    with process.running(["sleep", "60"], {}) as engine:
        engine.watch(asked.set)
    assert not asked.wait(0.2)
