"""A small clone of this project for tests of the whole pipeline: tiny random checkpoints, a real `dvc repro`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import yaml

from tests.support import ROOT, warm_python

RUNNING = re.compile(r"Running stage '([^']+)'")


class Project:
    """A clone in a folder of its own, with the commands that a user would give."""

    def __init__(self, folder: Path, cold: Collection[str] = ()) -> None:
        self.folder, self.cold = folder, cold  # cold: stages that do not fork from a process that has torch imported

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command in the project; its output, or an AssertionError that shows it."""
        binaries = os.pathsep.join([warm_python.folder(), str(Path(sys.executable).parent)])
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
        environment |= {
            "PATH": f"{binaries}{os.pathsep}{environment['PATH']}",
            "OMP_NUM_THREADS": "1",
            warm_python.COLD: " ".join(self.cold),
            "DVC_NO_ANALYTICS": "true",
            "RETUNE_CACHE": str(self.folder.parent / "cache"),
            "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.org",
            "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.org",
        }  # fmt: skip
        # pygit2 1.21 may wait for ever while it reads a file of another revision (a lost wake-up in BlobIO.readinto),
        # so a command that changes nothing is asked once more.
        tries = [90, 450] if set(command) & {"diff", "show"} else [550]
        for seconds in tries:
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(
                    command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=seconds
                )
                break
        else:
            raise AssertionError(f"{' '.join(command)} did not end within {tries[-1]} seconds")
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, f"{' '.join(command)}\n{output}"
        return output

    def repro(self, *arguments: str) -> list[str]:
        """`dvc repro`; the stages that ran, in order."""
        return RUNNING.findall(self.run("dvc", "repro", *arguments))

    def stale(self) -> set[str]:
        """The stages that would run now because of a change of their own inputs, after a `resolve`; but for `report`.

        The report shows the parameters of every model, so it is stale after each change of one.
        """
        self.repro("resolve")
        status = self.run("dvc", "status")
        return set(re.findall(r"^(\S+):$", status, flags=re.MULTILINE)) - {"report"}

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that must occur in a file."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    def commit(self, message: str = "state") -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def copy(self, folder: Path) -> Project:
        """An equal project elsewhere, with the cache and the workspace."""
        shutil.copytree(self.folder, folder, symlinks=True, copy_function=_copy)
        return Project(folder)


def _copy(source: str, target: str) -> None:
    """Link what DVC and git write once and never change, and copy the rest."""
    if "/.dvc/cache/" in source or "/.git/objects/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def clone(folder: Path, bases: dict[str, Path], cold: Collection[str] = ()) -> Project:
    """The files of this checkout in `folder`, with small settings and `bases` (role -> a local checkpoint)."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith(
            ("tests/", "reports/", "dvc.lock", "params-resolved", "resolved/")
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for cached in (file for part in ("retune", "stages") for file in (ROOT / part).rglob("__pycache__/*.pyc")):
        target = folder / cached.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(cached, target)  # or hundreds of modules would be compiled again; an edited one is

    catalog = yaml.safe_load((folder / "models/catalog.yaml").read_text(encoding="utf-8"))
    for role, path in bases.items():
        shutil.copytree(path, folder / f"data/external/tiny-{role}")
        catalog[f"tiny-{role}"] = {"kind": "path", "path": f"data/external/tiny-{role}", "license": "none needed"}
    (folder / "models/catalog.yaml").write_text(yaml.safe_dump(catalog, allow_unicode=True), encoding="utf-8")

    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["bases"] |= {role: f"tiny-{role}" for role in bases}
    params["tasks"] = {name: params["tasks"][name] | {"size": 400} for name in ("similarity", "intent")}
    params["models"] = {name: model for name, model in params["models"].items() if name in SMALL}
    for name, training in SMALL.items():
        if training:
            params["models"][name]["training"] = training
    params["exports"] = {}
    params["evaluation"]["bootstrap"] = 100
    params["lora"] = {"r": 4, "alpha": 8}
    params["linear"] = {"c": 1.0, "analyzer": "char"}  # one fit instead of eighteen
    params["hardware"] = {"device": "cpu", "dtype": "float32", "threads": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")

    project = Project(folder, cold)
    project.run("git", "init", "-q", "-b", "main")
    if not (folder / ".dvc/config").exists():
        project.run("dvc", "init", "-q")
    project.commit("start")
    return project


SMALL = {
    "intent_linear": None,
    "similarity_linear": None,
    "similarity_untuned": {"epochs": 0},
    "similarity_embedder": {"epochs": 1, "max_rows": 96, "batch_size": 16, "eval_steps": 2, "learning_rate": 1e-3},
    "similarity_llm": {"epochs": 1, "max_rows": 32, "dev_rows": 16, "batch_size": 8, "eval_steps": 2},
}
"""The models of the small build and their training."""
