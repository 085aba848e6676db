"""The record of a training, as DVC and the report read it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from retune.report import inputs
from retune.training import dvclive_log
from retune.training.record import Training
from tests.support import warm_python

PIPELINE = """
stages:
  train:
    cmd: cp -r ../remote/plots/metrics ../tuned/plots/metrics/dev .
    plots: [metrics: {x: step}, dev: {x: step}]
"""


@pytest.mark.slow
def test_dvc_has_no_word_against_the_curves_of_a_model_that_was_not_trained(tmp_path: Path) -> None:
    dvclive_log.write(Training(), tmp_path / "remote")
    history = [{"step": 4, "eval_auc": 0.5}, {"step": 8, "eval_auc": 0.75}]
    dvclive_log.write(Training(history=history), tmp_path / "tuned")
    assert inputs.history(tmp_path / "remote/plots/metrics") == {}
    assert inputs.history(tmp_path / "tuned/plots/metrics") == {"dev/auc": [(4.0, 0.5), (8.0, 0.75)]}
    assert json.loads((tmp_path / "remote/metrics.json").read_text()) == {}

    project = tmp_path / "project"
    project.mkdir()
    (project / "dvc.yaml").write_text(PIPELINE)

    def dvc(*arguments: str) -> tuple[str, str]:
        command = [f"{warm_python.folder()}/dvc", *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    dvc("init", "--no-scm", "-q")
    assert "empty" not in "".join(dvc("repro"))
    shown, said = dvc("plots", "show", "--json")
    assert said == ""
    found = json.loads(shown)
    assert found.get("errors", []) == []
    assert {name: bool(plots) for name, plots in found["data"].items()} == {
        "dev/auc.tsv": True,
        "metrics/epoch.tsv": False,
    }
