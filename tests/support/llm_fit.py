"""The LLM learner on pairs: the spec of a small training, rows, and a fit of a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from retune.learners.llm.fit import fit as fit_llm
from retune.learners.llm.predict import load as load_llm
from retune.params import Params, loads
from retune.training.record import Training

PROMPT = {"system": "相同吗？", "user": "1：{text_a}\n2：{text_b}", "answers": {"0": "否", "1": "是"}}


def spec_of(**changes: Any) -> Params:
    """A model's resolved section; `training__epochs=2` sets one key."""
    spec: dict[str, Any] = {
        "task": "similarity",
        "kind": "pair",
        "labels": ["0", "1"],
        "learner": "llm",
        "base": "llm",
        "base_name": "tiny",
        "seed": 3,
        "training": {
            "epochs": 2.5,
            "batch_size": 8,
            "learning_rate": 0.02,
            "schedule": "linear",
            "warmup_ratio": 0.1,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "max_length": 120,
            "truncation": "middle",
            "max_rows": None,
            "dev_rows": None,
            "eval_steps": 4,
            "patience": 0,
            "select": "loss",
            "max_steps": None,
            "checkpoint": "best",
            "keep_checkpoints": "best",
            "packed_tokens": 4096,
            "head": "random",
            "freeze_embeddings": True,
            "freeze_layers": 0,
            "gradient_checkpointing": False,
        },
        "lora": {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"},
        "quantization": {"bits": 16, "double": True},
        "hardware": {
            "device": "cpu",
            "dtype": "float32",
            "attention": "auto",
            "threads": 1,
            "processes": 1,
            "sharding": "none",
        },
        "prompt": PROMPT,
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            spec[section][key] = value
        else:
            spec[section] = value
    return loads(json.dumps(spec))


def rows(count: int) -> pl.DataFrame:
    """Pairs whose label shows all over, so that even a random model can learn it."""
    table = [(f"{i % 7}花呗", f"{'是' * 6 if i % 3 == 0 else '吗' * 6}{i % 5}", int(i % 3 == 0)) for i in range(count)]
    frame = pl.DataFrame(table, schema={"text_a": pl.String, "text_b": pl.String, "label": pl.Int8}, orient="row")
    return frame.with_columns(id=pl.format("r{}", pl.int_range(pl.len())))


TRAIN, DEV = rows(48), rows(20)


def fit(spec: Params, base: Path, folder: Path, train: pl.DataFrame = TRAIN, dev: pl.DataFrame = DEV) -> Training:
    """Fit into `folder`/out."""
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    (out / "spec.json").write_text(json.dumps(spec))
    return fit_llm(spec, train, dev, base, out, folder / "scratch")


def fitted(spec: Params, base: Path, folder: Path) -> tuple[Training, pl.DataFrame]:
    """Fit into `folder`/out, load it again, predict the dev rows."""
    record = fit(spec, base, folder)
    return record, load_llm(folder / "out", base, spec.hardware).predict(DEV)
