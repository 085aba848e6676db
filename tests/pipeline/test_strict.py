"""Strict stages: what is not declared is refused by a sentence that says what to declare, whoever reads it.

One process of a small stage tries everything, so that the kernel's rules are the real ones.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

from retune.pipeline.strict import landlock, variables
from retune.sources.chat_api import KEYS
from tests.support import ROOT

PIPELINE = """
stages:
  convert:
    foreach: ${tasks}
    do:
      cmd: python -m stages.convert ${key}
      deps: ["resolved/convert/${key}.json", "data/raw/${key}", "models/${item.model}"]
      outs:
        - data/converted/${key}
        - reports/${key}/numbers.json: {cache: false}
"""

SCRIPT = """
import importlib, json, os, shutil, sys
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from retune.pipeline.stage import stage
from retune.pipeline.strict import landlock, native

def kept(run, task):
    with run.output(f"data/converted/{task}") as folder:
        pl.DataFrame({"a": [1]}).write_parquet(folder / "rows.parquet")
        (folder / "more").mkdir()
        (folder / "more/plain.txt").write_text("x")
    with run.output(f"reports/{task}/numbers.json") as file:
        file.write_text("{}")
    scratch = run.scratch(1)
    pl.DataFrame({"a": [1]}).write_parquet(scratch / "part.parquet")
    pl.read_parquet(scratch / "part.parquet")

TRIES = {
    "polars": lambda run: pl.read_parquet("data/splits/rows.parquet"),
    "polars scan": lambda run: pl.scan_parquet("data/splits/*.parquet").collect(),
    "safetensors": lambda run: load_file("models/other/model.safetensors"),
    "tokenizers": lambda run: Tokenizer.from_file("models/other/tokenizer.json"),
    "open": lambda run: open("notes/plain.txt").read(),
    "numpy": lambda run: np.load("notes/table.npy"),
    "import": lambda run: importlib.import_module("retune.report.words"),
    "variable": lambda run: os.environ.get("WORK_MODE"),
    "another task's rows": lambda run: pl.read_parquet("data/raw/two/rows.parquet"),
    "README": lambda run: Path("README.md").read_text(),
    "home": lambda run: Path("~/notes.txt").expanduser().read_text(),
    "names": lambda run: sorted(Path("data/splits").iterdir()),
    "code's data": lambda run: (Path(sys.modules["retune"].__file__).parent / "report/page.html").read_text(),
    "parameter": lambda run: run.task("one").split.seed,
    "another task's parameter": lambda run: run.task("two").convert,
    "write": lambda run: Path("notes/new.txt").write_text("x"),
    "write by polars": lambda run: pl.DataFrame({"a": [1]}).write_parquet("data/raw/one/new.parquet"),
    "write in place": lambda run: Path("data/converted/one/new.txt").write_text("x"),
    "remove": lambda run: Path("notes/plain.txt").unlink(),
    "remove a folder": lambda run: shutil.rmtree("data/splits"),
    "rename": lambda run: Path("data/raw/one/rows.parquet").rename("data/raw/one/moved.parquet"),
    "output": lambda run: run.output("reports/other.json").__enter__(),
    "declared by polars": lambda run: pl.read_parquet("data/raw/one/rows.parquet"),
    "declared by safetensors": lambda run: load_file("models/own/model.safetensors"),
    "declared by tokenizers": lambda run: Tokenizer.from_file("models/own/tokenizer.json"),
    "declared parameter": lambda run: (run.task("one").convert.source, run.seed),
    "declared output": lambda run: kept(run, "one"),
    "declared variable": lambda run: os.environ.get("OMP_NUM_THREADS"),
    "counted module": lambda run: importlib.import_module("retune.data.convert"),
    "temporary file": lambda run: __import__("tempfile").TemporaryFile().close(),
    "child": lambda run: __import__("subprocess").run(["cat", "notes/plain.txt"], check=True, capture_output=True),
}

@stage
def convert(run, task):
    wanted = json.loads(Path("data/raw/one/tries.json").read_text())
    found = {}
    for name in wanted or TRIES:
        try:
            TRIES[name](run)
            found[name] = ""
        except Exception as error:
            if wanted:
                raise
            found[name] = (native.explain(run.held.guard, error) if run.held.guard else "") or repr(error)
    print(json.dumps(found))

if Path("data/raw/one/no-landlock").exists():
    landlock.version = lambda: 0
if Path("data/raw/one/early").exists():
    pl.DataFrame({"a": [1]}).lazy().collect()
convert()
"""

MADE = ("data/raw/two/rows.parquet", "data/raw/one/rows.parquet", "data/splits/rows.parquet")
NOTES = ("README.md", "notes/plain.txt", "home/notes.txt", "stages/__init__.py")
BY_KERNEL = {"polars", "polars scan", "safetensors", "tokenizers", "another task's rows", "write by polars", "child"}
"""What no audit hook of Python's sees."""

SENTENCES = {
    "polars": "`data/splits/rows.parquet` is not declared for convert@one: add it to `deps` of `convert` in dvc.yaml",
    "polars scan": "`data/splits/",
    "safetensors": "`models/other/model.safetensors` is not declared for convert@one: add it to `deps` of `convert`",
    "tokenizers": "`models/other/tokenizer.json` is not declared for convert@one: add it to `deps` of `convert`",
    "open": "`notes/plain.txt` is not declared for convert@one: add it to `deps` of `convert` in dvc.yaml",
    "numpy": "`notes/table.npy` is not declared for convert@one: add it to `deps` of `convert` in dvc.yaml",
    "import": "`retune.report` is imported, and the fingerprint of convert@one does not count it: import it by",
    "variable": "reads the environment variable WORK_MODE, on which convert@one does not depend: make it a key of",
    "another task's rows": "`data/raw/two/rows.parquet` is not declared for convert@one: add it to `deps` of `convert`",
    "README": "`README.md` is not declared for convert@one: add it to `deps` of `convert` in dvc.yaml",
    "home": "/home/notes.txt` lies outside of the project, where no change of it makes convert@one stale: bring it in",
    "names": "`data/splits` is not declared for convert@one: add it to `deps` of `convert` in dvc.yaml",
    "code's data": "belongs to a module that the fingerprint of convert@one does not count: put the file beside a",
    "parameter": "convert@one does not depend on tasks.one.split of params-resolved.json: name that part in READS of",
    "another task's parameter": "convert@one does not depend on tasks.two of params-resolved.json: name that part",
    "write": "`notes/new.txt` is written, and is no output of convert@one: write through `run.output`, and add it to",
    "write by polars": "`data/raw/one/new.parquet` is written, and is no output of convert@one: write through",
    "write in place": "`data/converted/one/new.txt` is an output of convert@one: write it through `run.output`",
    "remove": "`notes/plain.txt` is written, and is no output of convert@one: write through `run.output`, and add",
    "remove a folder": "`data/splits` is written, and is no output of convert@one: write through `run.output`, and",
    "rename": "`data/raw/one/rows.parquet` is written, and is no output of convert@one: write through `run.output`",
    "output": "`reports/other.json` is written, and is no output of convert@one: write through `run.output`, and add",
    "child": "CalledProcessError",
}
"""What is tried -> what its sentence has; what is not here is declared, and passes."""

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="the kernel has no Landlock")


def project(folder: Path, tries: tuple[str, ...] = (), *, strict: bool = True, kernel: bool = True) -> Path:
    """A project with two tasks in folder/project, and a home folder beside it."""
    root = folder / "project"
    for name in (*MADE, *NOTES, "notes/table.npy", "models/own/x", "models/other/x", "stages/convert.py"):
        ((folder if name.startswith("home") else root) / name).parent.mkdir(parents=True, exist_ok=True)
    for name in MADE:
        pl.DataFrame({"a": [1]}).write_parquet(root / name)
    for name in NOTES:
        ((folder if name.startswith("home") else root) / name).write_text("")
    np.save(root / "notes/table.npy", np.zeros(1))
    for name in ("own", "other"):
        save_file({"w": np.zeros(1)}, root / f"models/{name}/model.safetensors")
        Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(root / f"models/{name}/tokenizer.json"))
    (root / "data/raw/one/tries.json").write_text(json.dumps(tries))
    if not kernel:
        (root / "data/raw/one/no-landlock").touch()
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "stages/convert.py").write_text(SCRIPT)
    task = {"kind": "pair", "model": "own", "convert": {"kind": "pair", "source": "made"}, "split": {"seed": 1}}
    resolved: dict[str, Any] = {"seed": 1, "tasks": {"one": task, "two": task}, "models": {}, "strict": strict}
    (root / "params-resolved.json").write_text(json.dumps(resolved | {"code": {"convert": {"one": "0", "two": "0"}}}))
    return root


def elsewhere(root: Path) -> None:
    """Move reports/ to another place, and a file that is read into a cache; links stand where they were."""
    disk = root.parent / "disk"
    (disk / "reports").mkdir(parents=True)
    (root / "reports").symlink_to(disk / "reports")
    (root / "models/own/tokenizer.json").rename(disk / "cached")
    (root / "models/own/tokenizer.json").symlink_to(disk / "cached")


def run(root: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(root.parent / "home"), "WORK_MODE": "1"}
    environment["TMPDIR"] = str(root.parent)  # as for a project below /tmp
    command = [sys.executable, "-m", "stages.convert", "one"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)


def outcome(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What came of each try; empty where it went through."""
    assert done.stdout, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@needs_landlock
def test_whatever_is_not_declared_is_refused_and_whatever_is_passes(tmp_path: Path) -> None:
    root = project(tmp_path)
    elsewhere(root)
    killed = root / "data/converted/.one.part/one/new.parquet"
    killed.parent.mkdir(parents=True)
    killed.touch()
    done = run(root)
    assert "strict: convert@one: Landlock (version " in done.stderr
    for name, said in outcome(done).items():
        assert (SENTENCES[name] in said) if name in SENTENCES else not said, (name, said)
    assert done.returncode == 1, "refusals that the stage caught count all the same"
    assert "convert one: `notes/plain.txt` is not declared" in done.stderr
    assert (root / "notes/plain.txt").exists()
    assert (root / "data/raw/one/rows.parquet").exists()
    assert (root / "data/converted/one/more/plain.txt").read_text() == "x"
    assert (root / "reports/one/numbers.json").read_text() == "{}"
    left = [path for path in tmp_path.rglob("*") if path.name.endswith(".part") or path.name == "new.parquet"]
    assert not left, "nothing half-written is left, of a killed run either"
    assert list((tmp_path / f"retune-{os.getuid()}").iterdir()) == [], "no folder for temporary files is left"


def test_an_audit_hook_alone_refuses_what_python_does(tmp_path: Path) -> None:
    done = run(project(tmp_path, kernel=False))
    assert "strict: convert@one: an audit hook\n" in done.stderr
    for name, said in outcome(done).items():
        refused = name in SENTENCES and name not in BY_KERNEL
        assert (SENTENCES[name] in said) if refused else not said, (name, said)


def test_strict_false_reads_everything_and_warns(tmp_path: Path) -> None:
    done = run(project(tmp_path, ("open", "polars", "import", "variable", "README", "home", "parameter"), strict=False))
    assert done.returncode == 0, done.stderr
    assert "not strict (`strict: false` in params.yaml)" in done.stderr
    assert set(outcome(done).values()) == {""}


@pytest.mark.slow
@needs_landlock
def test_threads_that_are_older_than_the_kernels_rules_are_told_of(tmp_path: Path) -> None:
    root = project(tmp_path, ("declared by polars",))
    assert "polars reads beside strictness" not in run(root).stderr
    (root / "data/raw/one/early").touch()
    assert "polars reads beside strictness" in run(root).stderr


@pytest.mark.slow
@needs_landlock
@pytest.mark.parametrize("name", ["polars", "tokenizers"])
def test_a_library_of_another_language_ends_the_stage_with_the_sentence(name: str, tmp_path: Path) -> None:
    done = run(project(tmp_path, (name,)))
    assert done.returncode == 1
    assert f"convert one: {SENTENCES[name]}" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_every_variable_that_the_projects_code_names_is_in_the_table_and_has_a_reason() -> None:
    asked = re.compile(r"environ(?:\.get|\.pop|\.setdefault)?[\[(]\s*\"(\w+)\"|\"(\w+)\" (?:not )?in os\.environ")
    faces = {"cli", "doctor", "engines", "propose", "serve", "web"}  # which no stage imports
    files = [file for folder in ("retune", "stages") for file in (ROOT / folder).rglob("*.py")]
    files = [file for file in files if file.relative_to(ROOT).parts[1] not in faces]
    named = {
        name for file in files for pair in asked.findall(file.read_text(encoding="utf-8")) for name in pair if name
    }
    assert {"CUDA_VISIBLE_DEVICES", "DVC_STAGE", "OMP_NUM_THREADS", "RETUNE_CACHE"} <= named
    taken_out = re.search(r"^LAUNCHER_VARIABLES = \((.*)\)$", (ROOT / "retune/training/optimizer.py").read_text(), re.M)
    assert taken_out
    named |= {*KEYS, *re.findall(r"\w+", taken_out[1])}
    assert named - {"TMPDIR"} == variables.NAMES.keys(), "TMPDIR is set here, not read"
    assert all(variables.NAMES.values())
