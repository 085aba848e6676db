"""A registered model is what anyone gets by its version or stage, from a Git remote and a DVC remote alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tests.support import ROOT, warm_python

pytestmark = pytest.mark.slow

MODEL, FITTED = "models/similarity_embedder", "data/calibrations/similarity/similarity_embedder.json"
OUTPUTS = {"train@similarity_embedder": MODEL, "calibrate@similarity_embedder": FITTED}


def run(folder: Path, *command: str) -> None:
    """A command there, without a Studio of the machine's owner."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "GIT_"))}
    environment |= {
        "PATH": f"{warm_python.folder()}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    }
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "test", f"GIT_{who}_EMAIL": "test@example.org"}
    for seconds in (60, 120):  # pygit2 1.21 may wait for ever while it reads a file of another revision: then once more
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
            return
    raise AssertionError(f"{' '.join(command)} did not end within {seconds} seconds")


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> Path:
    """A bare repository of this project's pipeline, with two versions of a model, the first of them in production."""
    top = tmp_path_factory.mktemp("registry")
    project = top / "project"
    for name in (
        "dvc.yaml",
        "params.yaml",
        "params-resolved.json",
        "data/outside.json",
        "data/generated.json",
        ".gitignore",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, project / name)
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_text(f"[core]\n    remote = team\n['remote \"team\"']\n    url = {top / 'store'}\n")
    (project / ".dvc/.gitignore").write_text("/cache\n/tmp\n")
    run(top, "git", "init", "-q", "--bare", "-b", "main", "remote.git")
    run(project, "git", "init", "-q", "-b", "main")
    run(project, "git", "remote", "add", "origin", str(top / "remote.git"))
    for version in ("v1.0.0", "v1.1.0"):
        build(project, version)
        run(project, "git", "add", "-A")
        run(project, "git", "commit", "-q", "-m", version)
        with contextlib.chdir(project), Repo() as repo:
            repo.push(targets=list(OUTPUTS.values()))
        if version == "v1.0.0":
            run(project, "gto", "register", "similarity_embedder", "--version", version)
            run(project, "gto", "assign", "similarity_embedder", "--version", version, "--stage", "prod")
        else:
            run(project, "git", "tag", "-a", f"similarity_embedder@{version}", "-m", "by Git alone")
    run(project, "git", "push", "-q", "--tags", "origin", "main")
    shutil.rmtree(project)  # with DVC's cache
    return top / "remote.git"


def build(project: Path, version: str) -> None:
    """Put made-up outputs of a version into DVC's cache, and write the dvc.lock that their stages would have."""
    other = project.parent / version  # where no stage has these outputs, so that DVC adds them
    for path in OUTPUTS.values():
        for file, content in contents(path, version).items():
            (other / file).parent.mkdir(parents=True, exist_ok=True)
            (other / file).write_bytes(content)
    Repo.init(str(other), no_scm=True).close()
    with contextlib.chdir(other), Repo(config={"cache": {"dir": str(project / ".dvc/cache")}}) as repo:
        repo.add(list(OUTPUTS.values()))
    stages = {}
    for stage, path in OUTPUTS.items():
        (out,) = yaml.safe_load((other / f"{path}.dvc").read_text())["outs"]
        stages[stage] = {"cmd": "true", "outs": [{**out, "path": path}]}
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def contents(path: str, version: str) -> dict[str, bytes]:
    if path == FITTED:
        return {path: json.dumps({"temperature": float(version[1:4])}).encode()}
    return {f"{path}/model.safetensors": f"weights of {version}".encode() * 99, f"{path}/1_Pooling/config.json": b"{}"}


def found(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def wanted(path: str, version: str) -> dict[str, bytes]:
    return {file.removeprefix("models/"): content for file, content in contents(path, version).items()}


def test_a_version_or_a_stage_gives_the_bytes_that_were_registered(remote, tmp_path):
    newest = ((), "v1.1.0")
    for asked, version in ((("--rev", "v1.0.0"), "v1.0.0"), (("--stage", "prod"), "v1.0.0"), newest):
        folder = tmp_path / "-".join(("asked", *asked))
        folder.mkdir()
        run(folder, "dvc", "artifacts", "get", str(remote), "similarity_embedder", *asked)
        assert found(folder) == wanted(MODEL, version), asked


def test_the_tag_of_a_version_gives_what_belongs_to_the_model(remote, tmp_path):
    run(tmp_path, "dvc", "get", str(remote), FITTED, "--rev", "similarity_embedder@v1.0.0")
    assert found(tmp_path) == {Path(FITTED).name: contents(FITTED, "v1.0.0")[FITTED]}
    run(tmp_path, "git", "clone", "-q", "--branch", "similarity_embedder@v1.0.0", str(remote), "clone")
    run(tmp_path / "clone", "dvc", "pull", "-q", MODEL, FITTED)
    pulled = found(tmp_path / "clone")
    for path in OUTPUTS.values():
        assert contents(path, "v1.0.0").items() <= pulled.items()
