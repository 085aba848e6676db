"""A DVC project of three stages that write a letter each, through Retune's `@stage`: seconds for a whole build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT, warm_python

STAGE = """
import sys, time
from pathlib import Path
from retune.pipeline.stage import stage

@stage
def work(run, name):
    with run.output(f"out/{name}.txt") as file:
        exec(Path(name).read_text())
        file.write_text(name * 9)
work()
"""

STAGES = """
stages:
  a: {cmd: python work.py a, deps: [a], outs: [out/a.txt]}
  b: {cmd: python work.py b, deps: [b, out/a.txt], outs: [out/b.txt]}
  c: {cmd: python work.py c, deps: [c, out/b.txt], outs: [out/c.txt]}
"""

CUT = """
import os, signal, sys
from dvc.utils.serialize import _yaml
def cut(path, data, dumper, fs=None):
    with open(path, "w+", encoding="utf-8") as stream:
        dumper(data, stream)
        if str(path).endswith("dvc.lock") and len(data["stages"]) == {stages}:
            stream.truncate(stream.tell() - 30)
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
import dvc.utils.serialize._common as common
common._dump_data = cut
from dvc.cli import main
sys.exit(main(["repro"]))
"""
"""`dvc repro`, killed while it writes the entry of its n-th stage."""


def lay_out(folder: Path) -> None:
    """Write the project; the files `a`, `b` and `c` hold what the stages of that name do before they write."""
    (folder / "work.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "params-resolved.json").write_text('{"seed": 1, "code": {}}')
    for name in "abc":
        (folder / name).write_text("pass")
    run(folder, "dvc", "init", "--no-scm", "-q")


def start(folder: Path, *command: str, **more: str) -> subprocess.Popen[str]:
    """Start a command there, in a group of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment | {"PATH": path, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "true", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *command: str, fails: bool = False, **more: str) -> str:
    """Run a command there, with `more` variables; what it printed, or an AssertionError that shows it."""
    program, *arguments = command
    if program == "dvc":
        program = f"{warm_python.folder()}/dvc"
    with start(folder, program, *arguments, **more) as process:
        said = process.communicate(timeout=60)[0]
    assert bool(process.returncode) == fails, said
    return said
