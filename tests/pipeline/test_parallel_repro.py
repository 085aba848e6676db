"""`retune repro` ends what it began: DVC, and the stages of DVC, however it is stopped itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retune import params
from retune.errors import RetuneError
from retune.pipeline import parallel_repro, processes
from tests.support import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")


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
    monkeypatch.setattr(parallel_repro, "ENDING", ((signal.SIGINT, 0.5), (signal.SIGTERM, 0.5), (signal.SIGKILL, 10)))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    script = f"trap '' {trapped or 'USR1'}; sleep 60 & echo $!; while true; do sleep 0.1; done"
    process = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    child = int(process.stdout.readline())
    try:
        parallel_repro._end([process])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert process.returncode == {"": -signal.SIGINT, "INT": -signal.SIGTERM, "INT TERM": -signal.SIGKILL}[trapped]
    assert gone(child)


def test_an_export_is_built_behind_its_model():
    model = {"task": "calls", "base": "scratch", "learner": "linear"}
    resolved = params.loads(json.dumps({"models": {"small": model}, "exports": {"handed": {"model": "small"}}}))
    built = [stage for phase in parallel_repro.phases(resolved, ["calls"]) for stage in phase.get("small", [])]
    assert built == ["train@small", "predict@small", "calibrate@small", "evaluate@small", "export@handed"]


def test_what_does_not_need_a_failed_chain_is_built_before_the_build_ends(monkeypatch):
    begun = []

    def dvc(arguments, **more):
        begun.append(arguments[-1])
        return subprocess.Popen(["false" if arguments[-1] == "bad" else "true"], **more)

    monkeypatch.setattr(parallel_repro, "_dvc", dvc)
    with pytest.raises(RetuneError, match=r"^bad failed"):
        parallel_repro._side_by_side({"bad": ["bad"], "one": ["one"], "two": ["two"]}, jobs=1)
    assert begun == ["bad", "one", "two"]
