"""The command in a process of its own: it answers, and ends on a signal while a browser still has the page open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from retune.errors import RetuneError
from retune.web.files import Limits
from retune.web.server import serve
from tests.support import ROOT, web_project

pytestmark = pytest.mark.slow


def test_a_signal_ends_it_with_nothing_said_and_nothing_left(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "retune.cli", "web", "same", "--port", "0"],
        cwd=web_project.project(), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        url = process.stderr.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url + process.stderr.read()
        assert httpx.get(f"{url}/en/").status_code == 200
        assert len(list(tmp_path.iterdir())) == 1
        with httpx.stream("GET", f"{url}/en/gradio_api/heartbeat/abc") as stream:
            assert next(stream.iter_lines()) == "data: ALIVE"
            process.send_signal(signal.SIGTERM)
            out, errors = process.communicate(timeout=60)
        assert (process.returncode, out, errors) == (0, "", "")
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.communicate()


def test_an_address_that_is_taken_is_said_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RetuneError, match=r"can't serve at 192\.0\.2\.1:80 .*: give another --port"):
        serve([], "192.0.2.1", 80, Limits(), (), False, print)
    assert list(tmp_path.iterdir()) == []
