"""`retune check` on the models that dvc.yaml registers."""

from __future__ import annotations

from pathlib import Path

import yaml

from retune.pipeline.checks.artifacts import warnings
from tests.support import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def test_the_trained_models_are_registered_each_with_its_task_kind_and_learner():
    trained = {
        name: [model["task"], PARAMS["tasks"][model["task"]]["kind"], model["learner"]]
        for name, model in PARAMS["models"].items()
        if model.get("training", {}).get("epochs") != 0 and not name.endswith("_bm25")
    }
    artifacts = PIPELINE["artifacts"]
    assert {name: entry["labels"] for name, entry in artifacts.items()} == trained
    assert all(entry["path"] == f"models/{name}" and entry["type"] == "model" for name, entry in artifacts.items())
    assert warnings(ROOT, PARAMS) == []


def test_a_registered_model_that_nothing_builds_is_warned_of(tmp_path: Path):
    (tmp_path / "dvc.yaml").write_text(
        "artifacts:\n"
        "  good: {path: models/good, type: model}\n"
        "  renamed: {path: models/old}\n"
        "  base: {path: models/bases/encoder}\n"
        "  report: {path: reports/index.html}\n"
        "  lost: {path: models/bases/old}\n"
    )
    assert warnings(tmp_path, {"models": {"good": {}}, "bases": {"encoder": {}}}) == [
        "dvc.yaml:3: `artifacts` registers models that params.yaml does not have, so nothing builds them: renamed, "
        "lost; take them out, or mend their `path`"
    ]
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    assert warnings(tmp_path, {"models": {}, "bases": {}}) == []
