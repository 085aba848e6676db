"""A run of DVC under a build's eye is ended with its stages, read without DVC's hints, and says why it failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retune.pipeline import dvc_run, processes
from tests.support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")]


def gone(pid: int) -> bool:
    """Within some seconds."""
    deadline = time.monotonic() + 20
    while processes.stat(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes.stat(pid)


def test_a_command_ends_with_the_process_that_started_it(tmp_path):
    code = (
        "import subprocess; from retune.pipeline import processes as p; subprocess.run(p.with_parent(['sleep', '60']))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 20
    while not (found := [pid for pid in children(parent.pid) if processes.name(pid) == "sleep"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert gone(found[0])


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("trapped", ["", "INT", "INT TERM"])
def test_a_run_is_ended_gently_and_then_with_force_its_children_too(monkeypatch, trapped):
    monkeypatch.setattr(dvc_run, "ENDING", ((signal.SIGINT, 0.5), (signal.SIGTERM, 0.5), (signal.SIGKILL, 10)))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    script = f"trap '' {trapped or 'USR1'}; sleep 60 & echo $!; while true; do sleep 0.1; done"
    process = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    child = int(process.stdout.readline())
    try:
        dvc_run.end([process])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert process.returncode == {"": -signal.SIGINT, "INT": -signal.SIGTERM, "INT TERM": -signal.SIGKILL}[trapped]
    assert gone(child)


def test_a_run_is_read_without_what_says_nothing_of_the_build():
    said = (
        "Stage 'a' didn't change, skipping\n\nRunning stage 'b':\n> python -m stages.b\nrows by label: 3\n"
        "To track the changes with git, run:\n\n\tgit add dvc.lock\n"
        "If there are no processes with such PIDs, remove it by hand\n"
    )
    with subprocess.Popen(["printf", "%s", said], stdout=subprocess.PIPE) as process:
        lines = list(dvc_run.lines(process))
    assert lines[:3] == ["Running stage 'b':", "> python -m stages.b", "rows by label: 3"]
    assert lines[3:] == ["wait for that process or end it, then run this again"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            [
                "split: 3 rows",
                "retune: too few rows",
                "ERROR: failed to reproduce 'split@a': failed to run: python -m x",
            ],
            "split@a failed: retune: too few rows",
        ),
        (["> x", "ERROR: failed to reproduce 'explore@a': no such file: 'b'"], "explore@a failed: no such file: 'b'"),
        (["ERROR: failed to reproduce 'a': failed to run: x"], "a failed: failed to run: x"),
        (["", "ERROR: no space left"], "ERROR: no space left"),
    ],
)
def test_the_reason_of_a_failure_is_what_the_stage_said_last(lines, reason):
    assert dvc_run.reason(lines) == reason
