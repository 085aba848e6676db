"""`retune curve`: points from real DVC experiments, cost from the cache, nothing mixed that differs in more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.report import learning_curve
from tests.support import warm_python

pytestmark = pytest.mark.slow

BUILD = """
import json, pathlib, sys, yaml
from retune import run_record
given = yaml.safe_load(open("params.yaml"))
ratio, r = given["tasks"]["risk"]["data_ratio"], given["lora"]["r"]
task = {"kind": "scoring", "models": ["risk_llm"], "split": {"seed": 0, "data_ratio": ratio}}
model = {"task": "risk", "seed": given["seed"], "lora": {"r": r}}
files = {
    "params-resolved.json": {"tasks": {"risk": task}, "models": {"risk_llm": model}},
    "reports/metrics/risk_llm.json": {"test": {"rows": 9, "mae": {"value": 2 - ratio, "low": 1 - ratio, "high": 3}}},
    "reports/training/risk_llm/counts.json": {"rows": int(100 * ratio)},
    "reports/training/risk_llm/metrics.json": {"step": 100 * ratio},
}
for name, content in files.items():
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(name).write_text(json.dumps(content))
result = pathlib.Path("reports/training/risk_llm/metrics.json")
run_record.write("train", "risk_llm", result, {"training_seconds": 50 * ratio})
"""
PIPELINE = f"""
stages:
  build:
    cmd: {sys.executable} build.py
    params: [tasks, seed, lora]
    outs:
      - params-resolved.json: {{cache: false}}
      - reports/training/risk_llm
    metrics:
      - reports/metrics/risk_llm.json: {{cache: false}}
"""


def run(root: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was built, with three experiments of other ratios and one of another rank."""
    root = tmp_path_factory.mktemp("curve")
    (root / "build.py").write_text(BUILD)
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("seed: 1\nlora: {r: 8}\ntasks: {risk: {data_ratio: 1.0}}\n")
    (root / ".gitignore").write_text("/reports/training\n.retune\n")
    run(root, "git", "init", "-q")
    run(root, "git", "config", "user.email", "a@b.c")
    run(root, "git", "config", "user.name", "a")
    dvc = (f"{warm_python.folder()}/dvc",)
    run(root, *dvc, "init", "-q")
    run(root, *dvc, "repro", "-q")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "built")
    for change in ("tasks.risk.data_ratio=0.2", "tasks.risk.data_ratio=0.6", "lora.r=64"):
        run(root, *dvc, "exp", "run", "-q", "-S", change)
    run(root, *dvc, "exp", "run", "-q", "-S", "tasks.risk.data_ratio=0.2", "-S", "lora.r=8", "-S", "seed=2")
    run(root, "git", "checkout", "-q", ".")
    run(root, *dvc, "checkout", "-q")
    return root


def test_points_are_the_experiments_that_differ_in_ratio_or_seed_alone(project: Path) -> None:
    curve = learning_curve.read("risk", None, project)
    assert [(p.ratio, p.seed, p.value, p.rows, p.seconds) for p in curve.points] == [
        (0.2, 1, 1.8, 20, 10.0),
        (0.2, 2, 1.8, 20, 10.0),
        (0.6, 1, 1.4, 60, 30.0),
        (1.0, 1, 1.0, 100, 50.0),
    ]
    assert (curve.metric, curve.left_out) == ("mae", 1)
    text = learning_curve.table(curve)
    assert "0.8000 to 3.0000" in text
    assert "20%" in text


def test_the_page_holds_both_charts(project: Path) -> None:
    page = learning_curve.draw(learning_curve.read("risk", None, project), project).read_text()
    assert page.count("<svg") == 2
    assert "Training, seconds" in page


def test_what_is_missing_is_said(project: Path) -> None:
    with pytest.raises(RetuneError, match=r"`risks` is no task .* risk"):
        learning_curve.read("risks", None, project)
    with pytest.raises(RetuneError, match=r"`f1` is no metric of risk_llm; there are: mae"):
        learning_curve.read("risk", "f1", project)
