"""A project with a small model of each kind of task: `intent`, `same`, `risk` and `search`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from retune import learners
from retune.params import loads
from tests.support import inference_project

DOCUMENTS = ["补卡带身份证", "流量怎么买", "营业厅补卡的时间"]
COMPANIES = ["订单增长，大幅扩张", "贷款逾期，裁员停产"]
DIMENSIONS = ["growth", "debt"]


def project(root: Path) -> Path:
    """The project of `inference_project`, with a scoring and a ranking model, and an export that is declared."""
    inference_project.project(root)
    documents = pl.DataFrame({"document": [*COMPANIES * 8] * 2, "dimension": DIMENSIONS * 16}).with_columns(
        score=pl.Series([9, 9, 2, 2] * 8, dtype=pl.Int16), id=pl.int_range(32).cast(pl.String)
    )
    documents = documents.with_columns(document=pl.Series([COMPANIES[i // 2 % 2] for i in range(32)]))
    judged = pl.DataFrame({"query": ["怎么补卡"] * 3, "document": DOCUMENTS, "relevance": [1.0, 0.0, 0.5]})
    judged = judged.with_columns(
        id=pl.int_range(3).cast(pl.String), group=pl.lit("a"), weight=pl.lit(None, dtype=pl.Float64)
    )
    linear = {"analyzer": "char", "ngrams": [1, 2], "min_df": 1, "c": 1.0, "class_weights": "none"}
    scoring = {"kind": "scoring", "scores": [1, 10], "labels": [str(one) for one in range(1, 11)], "linear": linear}
    ranking = {"kind": "ranking", "labels": ["0", "1"], "bm25": {"ngrams": [1, 2], "k1": 1.5, "b": 0.75}}
    made = {
        "risk": _fitted(root, "risk", {**scoring, "dimensions": DIMENSIONS}, documents, {"temperature": 1.0}),
        "search": _fitted(root, "search", ranking, judged, {"scale": 0.1, "bias": 0.3}),
    }
    resolved = json.loads((root / "params-resolved.json").read_text())
    resolved["models"] |= made
    resolved["exports"] = {"intent_onnx": {}}
    columns = {"id": "key", "query": "q", "document": "doc", "relevance": "rel"}
    resolved["tasks"]["ranking"] = {"convert": {"tables": [{"file": "pairs.json", "columns": columns}]}}
    (root / "params-resolved.json").write_text(json.dumps(resolved))
    return root


def _fitted(root: Path, name: str, spec: dict[str, Any], rows: pl.DataFrame, calibration: dict[str, Any]) -> Any:
    folder = root / "models" / name
    folder.mkdir()
    spec |= {"task": spec["kind"], "learner": "linear", "base": "scratch", "seed": 0, "hardware": {}}
    (folder / "spec.json").write_text(json.dumps(spec))
    learners.fit(loads(json.dumps(spec)), rows, rows, root, folder, root / "scratch")
    file = root / f"data/calibrations/{spec['task']}/{name}.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(calibration))
    return spec
