"""A project with two small models that answer: of pairs and of texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from retune.learners.tfidf_logistic.fit import fit as fit_logistic
from retune.params import loads

LABELS = ["办理取消", "办理开通", "查询"]
TEXTS = ["帮我取消套餐", "我要开通流量包", "查一下话费"]
TEMPERATURE, THRESHOLD = 2.0, 0.2
PAIRS = [("花呗怎么还", "花呗怎么还钱"), ("借呗利息", "花呗额度"), ("花呗", "借呗"), ("余额宝", "余额宝")]


def fitted(root: Path, name: str, kind: str, labels: list[str], rows: pl.DataFrame, calibration: dict[str, Any]) -> Any:
    folder = root / "models" / name
    folder.mkdir(parents=True)
    options = {"analyzer": "char", "ngrams": [1, 2], "min_df": 1, "c": 1.0, "class_weights": "none"}
    spec = {"task": kind, "kind": kind, "labels": labels, "learner": "linear", "base": "scratch", "seed": 0}
    spec |= {"linear": options, "hardware": {}}
    (folder / "spec.json").write_text(json.dumps(spec))
    fit_logistic(loads(json.dumps(spec)), rows, rows, root, folder, root)
    (root / f"data/calibrations/{kind}").mkdir(parents=True)
    (root / f"data/calibrations/{kind}/{name}.json").write_text(json.dumps({"temperature": TEMPERATURE, **calibration}))
    return spec


def project(root: Path) -> Path:
    """A project with two linear models, and one that is declared but not built."""
    (root / "models/bases/scratch").mkdir(parents=True)
    count = 30
    pairs = pl.DataFrame({"text_a": ["花呗怎么还", "借呗利息"] * count, "text_b": ["花呗怎么还钱", "花呗额度"] * count})
    pairs = pairs.with_columns(
        label=pl.Series([1, 0] * count, dtype=pl.Int8), id=pl.int_range(2 * count).cast(pl.String)
    )
    texts = pl.DataFrame({"text": TEXTS * count, "label": LABELS * count})
    models = {
        "same": fitted(root, "same", "pair", ["0", "1"], pairs, {"threshold": THRESHOLD}),
        "intent": fitted(root, "intent", "classification", LABELS, texts, {}),
        "later": {"task": "pair"},
    }
    columns = {"text_a": "sentence1", "text_b": "sentence2", "label": "label"}
    tables = [
        {"file": "train.csv", "columns": columns},
        {"file": "dev.json", "format": "jsonl", "columns": columns | {"text_b": {"from": "b.text", "regex": "^[^!]+"}}},
    ]
    tasks = {"pair": {"convert": {"tables": tables}}, "classification": {"convert": {"tables": []}}}
    (root / "params-resolved.json").write_text(
        json.dumps({"seed": 0, "tasks": tasks, "models": models, "predictions": {}})
    )
    return root
