"""The workflows for pull requests: their steps, run one by one as a runner would, against an API of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT, warm_python
from tests.support.pull_request_server import Comments, served

pytestmark = pytest.mark.slow

FILE = ROOT / ".github/workflows/pull-request.yml"
WORKFLOW = yaml.safe_load(FILE.read_text(encoding="utf-8"))
GITLAB = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text(encoding="utf-8"))["gate"]
MARKER = "<!-- retune gate -->"
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")


class Runner:
    """A runner in a checkout: environment, path and outputs go from step to step as GitHub hands them on."""

    def __init__(self, checkout: Path, work: Path, api: str) -> None:
        self.checkout, self.work = checkout, work
        work.mkdir()
        self.files = {f"GITHUB_{name}": work / name.lower() for name in ("PATH", "OUTPUT", "STEP_SUMMARY")}
        self.known = {"github.token": "token", "github.event.pull_request.number": "7"}
        for file in self.files.values():
            file.touch()
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", str(work)), "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(checkout), "RETUNE_CACHE": str(work / "cache"),
            "GITHUB_BASE_REF": "main", "GITHUB_API_URL": api, "GITHUB_REPOSITORY": "team/models",
            **{name: str(file) for name, file in self.files.items()},
        }  # fmt: skip

    def step(self, job: str, name: str) -> int:
        """Run one step; its exit status."""
        (step,) = [step for step in WORKFLOW["jobs"][job]["steps"] if step.get("name") == name]
        given = WORKFLOW["jobs"][job].get("env", {}) | step.get("env", {})
        given = {key: EXPRESSION.sub(lambda found: self.known[found[1]], value) for key, value in given.items()}
        added = self.files["GITHUB_PATH"].read_text().split()
        path = os.pathsep.join([*reversed(added), self.environment["PATH"]])
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"]], cwd=self.checkout, env=self.environment | given | {"PATH": path},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=550,
        )  # fmt: skip
        print(f"--- {name}: {done.returncode}\n{done.stdout}")
        for line in self.files["GITHUB_OUTPUT"].read_text().splitlines():
            key, _, value = line.partition("=")
            self.known[f"steps.{step.get('id')}.outputs.{key}"] = value
        return done.returncode


def installed(checkout: Path) -> None:
    """What `make .venv/installed` makes: a folder with the commands."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv/bin").symlink_to(warm_python.folder())
    (checkout / ".venv/installed").touch()


def test_a_pull_request_is_built_judged_and_told_in_one_comment(project, tmp_path):
    remote, checkout = tmp_path / "remote", tmp_path / "checkout"
    stages, _, _ = (project.folder / "dvc.yaml").read_text(encoding="utf-8").partition("  report:\n")
    (project.folder / "dvc.yaml").write_text(stages, encoding="utf-8")  # the report takes as long as all the rest
    project.run("dvc", "remote", "add", "-q", "--default", "team", str(remote))
    project.run("dvc", "push", "-q")
    project.commit("shared")
    project.run("git", "checkout", "-q", "-b", "branch")
    project.edit("params.yaml", "  intent_linear:\n", "  intent_linear:\n    linear: {c: 0.00001}\n")
    project.commit("a worse model, not built")
    project.run("git", "clone", "-q", str(project.folder), str(checkout))
    shutil.copytree(project.folder / "data/external", checkout / "data/external", dirs_exist_ok=True)  # not in git
    shutil.rmtree(project.folder / ".dvc/cache")  # the runner has the remote alone
    installed(checkout)
    with served() as comments:
        runner = Runner(checkout, tmp_path / "runner", comments.address)
        for step in ("Install", "Restore", "Build", "Compare"):
            assert runner.step("gate", step) == 0
        assert runner.known["steps.compare.outputs.status"] == "0"  # 59 test rows show nothing
        assert runner.step("gate", "Judge") == 0
        check_comment(runner, comments)


def check_comment(runner: Runner, comments: Comments) -> None:
    """Written once, then updated; what others wrote stays."""
    others = [comments.add(f"{MARKER} not mine", "somebody"), comments.add("fine", "github-actions[bot]")]
    for number in range(100):
        comments.add(f"remark {number}", "somebody")
    assert runner.step("comment", "Comment") == 0
    assert len(comments.listed) == 103
    body = comments.listed[-1]["body"]
    assert body.startswith(f"{MARKER}\n## No regression is shown")
    assert "| intent | intent_linear | Macro-F1 | no evidence either way |" in body
    assert "The same answers in both: similarity_linear" in body
    assert "reports/metrics/intent_linear.json" in body
    assert "models.intent_linear.linear" in body
    assert body == runner.files["GITHUB_STEP_SUMMARY"].read_text()
    (runner.checkout / "build/comment.md").write_text(f"{MARKER}\nagain\n")
    assert runner.step("comment", "Comment") == 0
    assert len(comments.listed) == 103
    assert comments.listed[-1]["body"] == f"{MARKER}\nagain\n"
    assert [one["body"] for one in others] == [f"{MARKER} not mine", "fine"]
    where = "/repos/team/models/issues"
    assert [asked for asked in comments.asked if asked[0] != "GET"] == [
        ("POST", f"{where}/7/comments", "Bearer token"),
        ("PATCH", f"{where}/comments/202", "Bearer token"),
    ]


def test_the_code_of_a_pull_request_never_runs_where_something_can_be_written():
    text = FILE.read_text(encoding="utf-8")
    assert WORKFLOW[True] == "pull_request"  # YAML reads `on` as true; and not pull_request_target, which has secrets
    assert WORKFLOW["permissions"] == {"contents": "read"}
    gate, comment = WORKFLOW["jobs"]["gate"], WORKFLOW["jobs"]["comment"]
    assert "permissions" not in gate
    assert comment["permissions"] == {"pull-requests": "write"}
    assert "head.repo.full_name == github.repository" in comment["if"]
    steps = [*gate["steps"], *comment["steps"]]
    assert [step["name"] for step in comment["steps"] if "run" in step] == ["Comment"]
    assert not [step["uses"] for step in comment["steps"] if "checkout" in step.get("uses", "")]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []  # a branch's name would be run
    assert "${{ secrets" not in text
    pinned = re.findall(r"uses: \S+@[0-9a-f]{40} # v[\d.]+$", text, re.MULTILINE)
    assert len(pinned) == sum("uses" in step for step in steps)


STUBS = {
    "make": "mkdir -p .venv/bin",
    "dvc": 'echo "dvc $*"',
    "retune": 'echo "## No regression is shown"; echo "retune $*"; exit "$GATE"',
    "git": '[ "$1" = fetch ] || echo 0123abc',
}


@pytest.fixture
def stubs(tmp_path: Path) -> str:
    """The path to commands that only say what they were asked."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, body in STUBS.items():
        (binaries / name).write_text(f"#!/bin/sh\n{body}\n")
        (binaries / name).chmod(0o755)
    (binaries / "python").symlink_to(sys.executable)
    return f"{binaries}:/usr/bin:/bin"


@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_status_of_the_gate_is_that_of_the_job_and_the_summary_is_written_before(tmp_path, stubs, status):
    runner = Runner(tmp_path, tmp_path / "runner", "")
    runner.environment |= {"PATH": stubs, "GATE": str(status)}
    assert runner.step("gate", "Compare") == 0
    assert runner.step("gate", "Judge") == status
    summary = runner.files["GITHUB_STEP_SUMMARY"].read_text()
    assert "retune gate --base origin/main" in summary
    assert "dvc metrics diff --md origin/main\n" in summary
    assert ("## No comparison" in summary) == (status == 2)


@pytest.mark.parametrize(("status", "token"), [(0, "secret"), (2, "secret"), (1, "")])
def test_a_merge_request_has_one_note_and_the_status_of_the_gate(tmp_path, stubs, status, token):
    with served("bot") as comments:
        variables = {
            "PATH": stubs, "CI_API_V4_URL": comments.address, "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "5", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "RETUNE_TOKEN": token,
            "GATE": str(status),
        }  # fmt: skip
        for _ in range(2):
            done = subprocess.run(
                ["bash", "-e", "-c", "\n".join(GITLAB["script"])], cwd=tmp_path, env=variables, capture_output=True,
                text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == status, done.stderr
    body = (tmp_path / "build/comment.md").read_text()
    assert "retune gate --base 0123abc" in body
    assert "dvc params diff --md 0123abc\n" in body
    assert ("## No comparison" in body) == (status == 2)
    written: list[Any] = [asked for asked in comments.asked if asked[0] != "GET"]
    notes = "/projects/5/merge_requests/7/notes"
    assert written == ([("POST", notes, token), ("PUT", f"{notes}/100", token)] if token else [])
    assert [one["body"] for one in comments.listed] == ([body] if token else [])
