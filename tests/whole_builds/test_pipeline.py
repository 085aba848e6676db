"""What a user of the whole pipeline is promised, on a small clone with real `dvc` commands."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.project import RUNNING, SMALL, Project, clone

pytestmark = pytest.mark.slow

RETUNE = ("python", "-m", "retune.cli")
LLM = [f"{stage}@similarity_llm" for stage in ("train", "predict", "calibrate", "evaluate")]
PRIMARY = {"similarity": "auc", "intent": "macro_f1"}


def outputs(project: Project) -> dict[str, str]:
    """Path -> hash of every output: none may tell of time."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def test_a_build_ends_with_a_report_of_every_model_and_nothing_left_to_do(project):
    summary = (project.folder / "reports/summary.md").read_text(encoding="utf-8")
    for model in SMALL:
        assert model in summary
        measured = json.loads((project.folder / f"reports/metrics/{model}.json").read_text())["test"]
        assert 0 <= measured[PRIMARY[model.split("_")[0]]]["value"] <= 1
    assert project.repro() == []
    file = project.folder / "retune/learners/llm/task_prompt.py"
    file.write_text(file.read_text(encoding="utf-8") + "\n# why\n", encoding="utf-8")
    assert project.repro() == ["resolve"], "a comment in a learner"
    assert "up to date" in project.run("dvc", "status")


def test_a_default_that_only_the_llm_reads_reruns_only_the_llm(project):
    command = ("dvc", "exp", "run", "-n", "wide", "-S", "lora.r=8")
    assert RUNNING.findall(project.run(*command)) == ["resolve", *LLM, "compare@similarity", "report"]
    assert "wide" in project.run("dvc", "exp", "show", "--no-pager", "--csv")
    changed = re.findall(r"^\| *(\S+\.\w+) *\| *(\S+)", project.run("dvc", "params", "diff", "--md"), re.MULTILINE)
    assert changed == [("params.yaml", "lora.r")]
    assert "similarity_llm" in project.run("dvc", "metrics", "diff", "--all")
    project.run("dvc", "plots", "diff", "HEAD", "-o", "plots")
    assert (project.folder / "plots/index.html").exists()


def test_edits_of_a_parameter_code_a_prompt_and_a_rule_rerun_what_they_reach(project):
    """All at once: what each of them reaches alone is shown by tests/pipeline/test_impact.py."""
    project.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.002")
    project.edit("params.yaml", "threshold: f1", "threshold: accuracy")
    project.edit("prompts/similarity.yaml", "问题1", "句子1")
    file = project.folder / "retune/learners/llm/task_prompt.py"
    file.write_text(file.read_text(encoding="utf-8") + "\nMARK = 1\n", encoding="utf-8")
    reached = {f"calibrate@{model}" for model in SMALL if model.startswith("similarity")}
    reached |= {"train@similarity_embedder", "explore@similarity", "train@similarity_llm", "predict@similarity_llm"}
    assert project.stale() == reached


def test_a_failure_of_one_of_several_jobs_is_told_and_the_rest_is_kept(project):
    fit, start = "retune/learners/tfidf_logistic/fit.py", "start = time.monotonic()"
    project.edit(fit, start, "start = 0 if spec.task != 'similarity' else 1 / 0")
    said = project.run(*RETUNE, "repro", fails=True)
    assert "similarity_linear | ZeroDivisionError: division by zero" in said
    assert "retune: train@similarity_linear failed: ZeroDivisionError: division by zero; " in said
    assert "Traceback" not in said.partition("retune: train@similarity_linear failed")[2]
    assert "there is no task `similarty`; did you mean `similarity`?" in project.run(
        *RETUNE, "repro", "similarty", fails=True
    )
    assert project.stale() == {"train@similarity_linear", "predict@similarity_linear"}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_several_jobs_end_with_the_command_and_go_on_with_the_next(project):
    project.edit("params.yaml", "c: 1.0", "c: [0.3, 1.0, 3.0, 10.0]")
    mark = f"RETUNE_MARK={project.folder}"
    command = [sys.executable, *RETUNE[1:], "repro", "similarity"]
    environment = {**os.environ, "RETUNE_MARK": str(project.folder)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with subprocess.Popen(command, cwd=project.folder, env=environment, stdout=subprocess.PIPE, text=True) as build:
        assert any("Running stage 'train@similarity_linear'" in line for line in build.stdout)
        deadline = time.monotonic() + 20
        while len(running(mark)) <= 2 and time.monotonic() < deadline:  # this, DVC, and the stage that it starts
            time.sleep(0.05)
        assert len(running(mark)) > 2
        build.send_signal(signal.SIGTERM)
        build.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while running(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert running(mark) == []
    assert "Running stage 'train@similarity_linear'" in project.run("dvc", "repro", "train@similarity_linear")


def running(mark: str) -> list[int]:
    """Processes whose environment has the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def test_a_wrong_key_stops_the_build_with_its_nearest_neighbour(project):
    project.edit("params.yaml", "learning_rate: 0.001", "learning_rat: 0.001")
    output = project.run("dvc", "repro", fails=True)
    assert "learning_rat" in output
    assert "learning_rate" in output
    assert "Traceback" not in output


def test_the_training_of_a_killed_build_ends_and_is_resumed(project):
    project.edit("params.yaml", "max_rows: 96", "max_rows: 96\n      patience: 0")
    project.edit("params.yaml", "epochs: 1\n      max_rows: 96", "epochs: 10\n      max_rows: 96")
    model = "models/similarity_embedder/model-trained.safetensors"

    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["dvc", "repro", "train@similarity_embedder"],
        cwd=project.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not list(project.folder.glob(".retune/scratch/train/*/**/checkpoint-*/trainer_state.json")):
        assert process.poll() is None, "the training ended before a checkpoint was seen"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock = project.folder / ".retune/locks/train-similarity_embedder"
    stage = int(lock.read_text().split()[1])
    while (cmdline := Path(f"/proc/{stage}/cmdline")).exists() and cmdline.read_text():
        assert time.monotonic() < deadline, "the training outlived dvc"
        time.sleep(0.1)
    assert not (project.folder / model).exists()

    output = project.run("dvc", "repro", "--force-downstream", "train@similarity_embedder")
    assert "resum" in output.lower()
    assert (project.folder / model).exists()
    assert not list(project.folder.glob(".retune/scratch/train/*"))


def test_a_model_of_two_processes_is_built_and_another_of_its_checkpoints_promoted(project):
    project.edit("params.yaml", "threads: 1", "threads: 2\n  processes: 2")
    project.edit("params.yaml", "max_rows: 96", "max_rows: 96\n      keep_checkpoints: all")
    project.repro("train@similarity_embedder")
    record = project.folder / "reports/training/similarity_embedder"
    runs = (project.folder / ".retune/runs/train/similarity_embedder").glob("*.json")
    assert 2 in [json.loads(file.read_text())["processes"] for file in runs]
    table = project.run(*RETUNE, "checkpoints", "similarity_embedder")
    assert re.findall(r"^ *(\d+) .*weights stored$", table, re.MULTILINE) == ["2", "4", "6"]
    assert (project.folder / ".retune/checkpoints/similarity_embedder.html").exists()
    kept = int(re.search(r"^ *(\d+) .*the model", table, re.MULTILINE)[1])
    other = 2 if kept != 2 else 4
    said = project.run(*RETUNE, "checkpoints", "similarity_embedder", "--promote", str(other))
    assert f"takes the weights after step {other}" in said
    weights = project.folder / "models/similarity_embedder/model-trained.safetensors"
    before = weights.read_bytes()
    output = project.run("dvc", "repro", "train@similarity_embedder")
    assert "Running stage 'train@similarity_embedder'" in output
    assert f"Kept step {other} of 6" in json.loads((record / "messages.json").read_text())["messages"][0]
    assert weights.read_bytes() != before


COLD = [
    "resolve", "download@intent", "download_base@llm", "convert@intent", "augment@intent", "split@intent",
    "explore@similarity", "train@intent_linear", "train@similarity_embedder", "train@similarity_llm",
    "predict@similarity_llm", "calibrate@similarity_llm", "evaluate@similarity_llm", "compare@similarity", "report",
]  # fmt: skip
"""One of each: a Python of its own, as a user has it."""


def test_two_clones_build_the_same_bytes_even_several_stages_at_a_time(built, tmp_path):
    bases = {role: built.parent / role for role in ("encoder", "llm")}
    (tmp_path / "clone").mkdir()
    other = clone(tmp_path / "clone", bases, COLD)
    said = other.run(*RETUNE, "repro", "--jobs", "3")
    assert "similarity_llm | Running stage 'train@similarity_llm':" in said
    assert "up to date" in other.run("dvc", "status")
    assert outputs(other) == outputs(Project(built))
    assert any(path.startswith("models/similarity_llm") for path in outputs(other))


LIGHT = [
    "resolve",
    "download",
    "download_base",
    "convert",
    "augment",
    "split",
    "calibrate",
    "evaluate",
    "compare",
    "report",
]


def test_a_stage_without_a_model_starts_without_heavy_packages():
    heavy = {"torch", "transformers", "sklearn", "scipy", "altair", "datasets"}
    code = (
        "import importlib, sys\n"
        f"for name in {LIGHT!r}:\n"
        '    importlib.import_module(f"stages.{name}")\n'
        f"    found = {heavy!r} & set(sys.modules)\n"
        "    assert not found, (name, found)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
