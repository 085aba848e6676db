"""Unfinished work is found again by any run of the same work, and by no other."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from retune.pipeline import scratch
from retune.sources import chat_api
from tests.support import tiny_pipeline

ONE, OTHER = "0" * 16, "1" * 16


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """The folder that DVC makes for an experiment; the current one is the project around it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".dvc/tmp/exps/standalone/tmp1234"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def project(experiment):
    return Path.cwd()


def test_a_killed_experiment_leaves_its_checkpoints_to_the_next_run_of_the_same_work(project, experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    folder, held = scratch.claim("train", "m", ONE)
    (folder / "checkpoint-3").touch()
    held.close()  # the kernel does that when the process is killed
    monkeypatch.chdir(project)
    again, held = scratch.claim("train", "m", ONE)
    assert (again / "checkpoint-3").exists()
    assert again.resolve() == project / f".retune/scratch/train/m-{ONE}"
    scratch.release(again, held)
    assert not list((project / ".retune").rglob("*m-*")), "done: nothing of it stays"


def test_two_runs_of_the_same_work_at_a_time_do_not_share_a_folder(project):
    first, held = scratch.claim("train", "m", ONE)
    second, also_held = scratch.claim("train", "m", ONE)
    assert first != second
    scratch.release(second, also_held)
    assert first.exists()
    held.close()
    assert scratch.claim("train", "m", ONE)[0] == first


def test_work_of_other_settings_stays_for_its_return_the_newest_and_what_runs(project):
    running, held = scratch.claim("train", "m", OTHER)
    left = []
    for number in range(2, 7):
        folder, closed = scratch.claim("train", "m", str(number) * 16)
        closed.close()
        left.append(folder)
        os.utime(folder, (number * 1e8, number * 1e8))
    os.utime(running, (1, 1))
    neighbour, closed = scratch.claim("train", "m-2", ONE)
    closed.close()
    scratch.claim("train", "m", ONE)
    assert running.exists(), "a run holds it"
    assert [folder.exists() for folder in left] == [False, False, True, True, True]
    assert neighbour.exists(), "of another model"
    held.close()


def test_an_experiment_finds_the_answers_that_an_endpoint_gave_the_project(project, experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    assert chat_api.folder() == project / ".retune/cache/api"


LONG = """
folder = run.scratch("settings")
if not (folder / "checkpoint").exists():
    (folder / "checkpoint").touch()
    print("began", flush=True)
    time.sleep(60)
print("goes on", flush=True)
"""


@pytest.mark.slow
def test_dvc_exp_run_in_a_folder_of_its_own_goes_on_after_a_kill(tmp_path):
    (tmp_path / ".gitignore").write_text("/.retune/\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    tiny_pipeline.lay_out(tmp_path)
    (tmp_path / ".dvc/config").write_text("")  # with git
    (tmp_path / "a").write_text(LONG)
    tiny_pipeline.run(tmp_path, "git", "add", ".")
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    tiny_pipeline.run(tmp_path, "git", *author, "commit", "-qm", "start")
    with tiny_pipeline.start(tmp_path, "dvc", "exp", "run", "--temp", "a") as first:
        assert any(line == "began\n" for line in first.stdout)
        os.killpg(first.pid, signal.SIGKILL)
    said = tiny_pipeline.run(tmp_path, "dvc", "exp", "run", "--temp", "a")
    assert "goes on" in said
    assert "began" not in said
    assert not list((tmp_path / ".retune/scratch").rglob("checkpoint"))
