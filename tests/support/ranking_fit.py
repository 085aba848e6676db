"""Learners of kind `ranking`: judged documents, the spec of a small training, a fit, and what it leaves."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from retune import learners
from retune.params import Params, loads
from retune.training.record import Training
from tests.support.training_options import CPU, OPTIONS

LOSS = {
    "cosine": 1.0, "in_batch": 0.5, "temperature": 0.1, "hard": 0.0, "hard_negatives": 2, "margin": 0.05,
    "dimensions": [], "reranker": "ranknet", "list_temperature": 0.25,
}  # fmt: skip


def judged(number: int = 24) -> pl.DataFrame:
    """Queries about a product, each with four documents: the same product and question, one of them, or neither."""
    products, asked = ("花呗", "借呗", "余额宝", "银行卡"), ("怎么还款", "如何提前还", "为什么不能用", "怎么开通")
    rows = []
    for i in range(number):
        a, b = i % 4, (i // 4) % 4
        for j, (p, q, relevance) in enumerate([(a, b, 1.0), (a, b + 1, 0.6), (a + 1, b, 0.3), (a + 1, b + 2, 0.0)]):
            text = f"{products[p % 4]}的{asked[q % 4]}"
            row = {"id": f"{i}-{j}", "group": f"g{i}", "query": products[a] + asked[b] + "的" * (i // 16)}
            rows.append(row | {"document": text, "relevance": relevance, "weight": None if j else 1.2})
    return pl.DataFrame(rows, schema_overrides={"weight": pl.Float64})


def spec_of(learner: str, loss: dict | None = None, lora: dict | None = None, **change) -> Params:
    options = OPTIONS | {"learning_rate": 3e-3, "batch_size": 16, "epochs": 6, "eval_steps": 6, "select": "ndcg"}
    section = {
        "task": "t", "kind": "ranking", "learner": learner, "base": "encoder", "base_name": "tiny", "seed": 7,
        "training": options | change, "ranking_loss": LOSS | (loss or {}), "lora": lora or {"method": "full"},
        "hardware": dict(CPU) | {"dtype": "float32"}, "data": {"name": "made-up", "license": "none needed"},
        "bm25": {"ngrams": [1, 2], "k1": 1.5, "b": 0.75},
    }  # fmt: skip
    return loads(json.dumps(section))


def fit(spec: Params, base: Path, folder: Path, train: pl.DataFrame | None = None) -> tuple[Path, Training]:
    """Fit into `folder`/model, and give that folder back."""
    out, scratch = folder / "model", folder / "scratch"
    out.mkdir(parents=True)
    (out / "spec.json").write_text(json.dumps(spec))
    return out, learners.fit(spec, judged() if train is None else train, judged(12), base, out, scratch)


def load(learner: str, folder: Path) -> Any:
    """The predictor of a fitted folder; its base is not needed."""
    return import_module(f"{learners.module(learner, 'ranking')}.predict").load(folder, Path("absent"), CPU)
