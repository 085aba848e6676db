"""Learners `encoder` and `embedder` on pairs: the spec of a small training, a fit, and what it leaves."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors.torch import load_file

from retune import learners
from retune.params import Params, loads
from retune.training.record import Training
from tests.support.tiny_encoder import pairs
from tests.support.training_options import CPU, OPTIONS

LOSS = {
    "name": "cross_entropy", "gamma": 2.0, "class_weights": "none", "label_smoothing": 0.0, "r_drop": 0.0,
    "adversarial": "none", "epsilon": 0.1, "pgd_steps": 2, "pgd_step_size": 0.05,
}  # fmt: skip


def spec_of(loss: dict | None = None, dtype: str = "float32", **change) -> Params:
    options = OPTIONS | {"learning_rate": 3e-3, "batch_size": 16, "epochs": 3, "eval_steps": 4} | change
    section = {
        "task": "t",
        "kind": "pair",
        "labels": ["0", "1"],
        "seed": 7,
        "training": options,
        "loss": LOSS | (loss or {}),
        "hardware": dict(CPU),
    }
    section["hardware"]["dtype"] = dtype
    return loads(json.dumps(section))


def fit(
    learner: str, base: Path, folder: Path, spec: Params, train: pl.DataFrame | None = None
) -> tuple[Path, Training]:
    """Fit into `folder`/model, and give that folder back."""
    out, scratch = folder / "model", folder / "scratch"
    out.mkdir(parents=True, exist_ok=True)
    (out / "spec.json").write_text(json.dumps(spec))
    module = import_module(f"{learners.module(learner, 'pair')}.fit")
    return out, module.fit(spec, pairs() if train is None else train, pairs(40), base, out, scratch)


def load(learner: str, folder: Path, dtype: str = "float32") -> Any:
    """The predictor of a fitted folder; its base is not needed."""
    module = import_module(f"{learners.module(learner, 'pair')}.predict")
    return module.load(folder, Path("absent"), Params(CPU | {"dtype": dtype}))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a model folder, of one file or of its shards."""
    return {
        name: value for file in sorted(folder.glob("model*.safetensors")) for name, value in load_file(file).items()
    }
