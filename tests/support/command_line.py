"""The command line `retune`, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT


def run(root: Path, *arguments: str, text: str = "", fails: bool = False) -> tuple[str, str]:
    """Run it in a project with `text` typed in; what it printed, and what it said on standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "retune.cli", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def printed(root: Path, *arguments: str, fails: bool = False) -> str:
    """All that it printed, standard error last."""
    return "".join(run(root, *arguments, fails=fails))
