"""A DVC project with the names of this one's stages and outputs, each a file of some text, and clones of it.

What remotes are tested with: a build takes seconds, and DVC does with it what it does with a real one.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from retune.pipeline import remote
from tests.support import command_line

PARAMS = {
    "tasks": {"pairs": {"rows": 1}, "topics": {"rows": 2}},
    "models": {
        "words": {"task": "pairs", "learner": "linear", "base": "scratch", "rate": 1},
        "chat": {"task": "pairs", "learner": "llm", "base": "llm", "rate": 1},
        "topic": {"task": "topics", "learner": "encoder", "base": "encoder", "rate": 1},
    },
    "bases": {"scratch": 3000, "encoder": 50_000, "llm": 90_000},
}

STAGES = """
stages:
  resolve:
    cmd: cp params.yaml params-resolved.json
    deps: [params.yaml]
    outs: [params-resolved.json: {cache: false, persist: true}]
  download_base:
    foreach: ${bases}
    do:
      cmd: python write.py base ${item} models/bases/${key}/weights
      params: ["bases.${key}"]
      outs: ["models/bases/${key}"]
  download:
    foreach: ${tasks}
    do:
      cmd: python write.py ${item.rows} 20000 data/raw/${key}/a data/raw/${key}/b
      params: ["tasks.${key}.rows"]
      outs: ["data/raw/${key}"]
  train:
    foreach: ${models}
    do:
      cmd: python write.py ${item.rate} 70000 models/${key}/weights models/${key}/head
      params: ["models.${key}.rate"]
      deps: ["data/raw/${item.task}", "models/bases/${item.base}"]
      outs: ["models/${key}"]
  predict:
    foreach: ${models}
    do:
      cmd: python write.py ${item.rate} 9000 data/predictions/${item.task}/${key}/test
      deps: ["models/${key}", "models/bases/${item.base}"]
      outs: ["data/predictions/${item.task}/${key}"]
  calibrate:
    foreach: ${models}
    do:
      cmd: python write.py ${item.rate} 100 data/calibrations/${item.task}/${key}.json
      deps: ["data/predictions/${item.task}/${key}"]
      outs: ["data/calibrations/${item.task}/${key}.json"]
  evaluate:
    foreach: ${models}
    do:
      cmd: python write.py ${item.rate} 10 reports/metrics/${key}.json reports/evaluations/${item.task}/${key}/curve
      deps: ["data/calibrations/${item.task}/${key}.json"]
      metrics: ["reports/metrics/${key}.json": {cache: false}]
      outs: ["reports/evaluations/${item.task}/${key}"]
  compare:
    foreach: ${tasks}
    do:
      cmd: python write.py ${key} 4000 reports/comparisons/${key}/table
      deps: ["data/predictions/${key}", "data/calibrations/${key}"]
      outs: ["reports/comparisons/${key}"]
  report:
    cmd: python write.py page 5000 reports/index.html reports/summary.md
    deps: [reports/comparisons, reports/metrics]
    outs: [reports/index.html, reports/summary.md: {cache: false}]
"""

WRITE = """
import sys, json, pathlib
text, size, *files = sys.argv[1:]
for file in map(pathlib.Path, files):
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"made": [text, str(file)]})
    file.write_text(line if file.suffix == ".json" else (line * int(size))[:int(size)])
"""
"""Each file holds another text, of so many bytes."""

IGNORED = "/data/*/\n/models/*/\n/reports/*\n!/reports/metrics/\n!/reports/summary.md\n/.retune/\n"
RUNNING = re.compile(r"Running stage '([^']+)'")


class Clone:
    """A clone of it in a folder of its own, with an empty cache; DVC and Retune run in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _environment(self) -> contextlib.AbstractContextManager[Any]:
        """That of a machine of its own: DVC remembers elsewhere what remotes hold."""
        site = str(self.folder.parent / f"site-{self.folder.name}")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return mock.patch.dict(os.environ, {"DVC_SITE_CACHE_DIR": site, "DVC_NO_ANALYTICS": "true", "PATH": path})

    def dvc(self, *arguments: str) -> str:
        """A command of DVC; what it printed, or an AssertionError that shows it."""
        from dvc.cli import main

        said = io.StringIO()
        listener = logging.StreamHandler(said)  # DVC's own handlers keep the standard output of its first command
        with (
            self._environment(),
            contextlib.chdir(self.folder),
            mock.patch("sys.argv", ["dvc", *arguments]),  # DVC looks there for -v and -q, beside what it is given
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            logging.getLogger("dvc").addHandler(listener)
            try:
                code = main(list(arguments))
            finally:
                logging.getLogger("dvc").removeHandler(listener)
        assert code == 0, said.getvalue()
        return said.getvalue()

    def git(self, *arguments: str) -> None:
        """A command of Git."""
        name = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        subprocess.run(["git", *name, *arguments], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def retune(self, *arguments: str, fails: bool = False) -> str:
        """A command of Retune; what it printed."""
        with self._environment():
            return command_line.printed(self.folder, *arguments, fails=fails)

    def take(self) -> str:
        """What `retune repro --pull` does before it builds; what it said."""
        said: list[str] = []
        with self._environment(), contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()):
            remote.take([], said.append)
        return "\n".join(said)

    def repro(self) -> list[str]:
        """`dvc repro`; the stages that ran, in order."""
        return RUNNING.findall(self.dvc("repro"))

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "state")

    def outputs(self) -> dict[str, bytes]:
        """Path -> bytes of what the stages wrote."""
        below = [file for part in ("data", "models", "reports") for file in (self.folder / part).rglob("*")]
        files = (file for file in below if file.is_file() and file.name != ".gitignore")
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}

    def cloned(self, folder: Path) -> Clone:
        """Another clone of the last commit."""
        self.git("clone", "-q", str(self.folder), str(folder))
        return Clone(folder)

    def copy(self, folder: Path) -> Clone:
        """An equal project elsewhere, with cache and workspace."""
        shutil.copytree(self.folder, folder)
        return Clone(folder)

    def set(self, model: str, **values: object) -> None:
        """Change a model in params.yaml."""
        file = self.folder / "params.yaml"
        declared = json.loads(file.read_text())
        declared["models"][model] |= values
        file.write_text(json.dumps(declared))


def lay_out(folder: Path) -> Clone:
    """The project, committed and not built."""
    folder.mkdir(parents=True)
    for name, text in (("dvc.yaml", STAGES), ("write.py", WRITE), (".gitignore", IGNORED)):
        (folder / name).write_text(text)
    (folder / "params.yaml").write_text(json.dumps(PARAMS))
    made = Clone(folder)
    made.git("init", "-q", "-b", "main")
    made.dvc("init", "-q")
    made.commit()
    return made


def size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
