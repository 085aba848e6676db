"""A real `dvc repro` of the task retrieval on a tiny checkpoint: three models, their chain, the report."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.support.project import ROOT, clone
from tests.support.tiny_encoder import tiny_encoder

pytestmark = pytest.mark.slow

SMALL = {"epochs": 1, "max_rows": 60, "dev_rows": 30, "batch_size": 12, "eval_steps": 4, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranking")
    (folder / "encoder").mkdir()
    project = clone(folder / "project", {"encoder": tiny_encoder(folder / "encoder")})
    ours = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    file = project.folder / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    params["bases"].pop("llm")
    params["tasks"] = {"retrieval": ours["tasks"]["retrieval"] | {"size": 600}}
    built = ("retrieval_bm25", "retrieval_embedder", "retrieval_reranker")
    params["models"] = {name: ours["models"][name] for name in built}
    for name in ("retrieval_embedder", "retrieval_reranker"):
        params["models"][name]["training"] = dict(SMALL)
    file.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    project.repro()
    return project


def test_the_task_is_built_once_and_shown(built):
    metrics = json.loads((built.folder / "reports/metrics/retrieval_bm25.json").read_text())["test"]
    assert metrics["ndcg@10"]["value"] > 0.8
    comparison = json.loads((built.folder / "reports/comparisons/retrieval/comparison.json").read_text())
    assert comparison["models"][-1] == "embed_then_rerank"
    assert comparison["chains"]["embed_then_rerank"]["saved"] == pytest.approx(0.5, abs=0.05)
    assert "Query log" in (built.folder / "reports/index.html").read_text(encoding="utf-8")
    assert built.repro() == []


def test_another_number_of_candidates_compares_anew_and_trains_nothing(built, tmp_path):
    project = built.copy(tmp_path / "project")
    project.edit("params.yaml", "candidates: 3", "candidates: 2")
    assert project.stale() == {"compare@retrieval"}
