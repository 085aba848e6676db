"""The section `training` of small models, and the hardware that all tests have."""

from __future__ import annotations

from retune.params import Params

OPTIONS = {
    "epochs": 2, "batch_size": 8, "packed_tokens": 4096, "learning_rate": 0.01, "schedule": "linear",
    "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "max_length": 32, "truncation": "end",
    "max_rows": None,
    "dev_rows": None, "eval_steps": 5, "patience": 0, "select": "auc", "head": "random", "freeze_embeddings": True,
    "freeze_layers": 0,
    "gradient_checkpointing": False, "max_steps": None, "checkpoint": "best", "keep_checkpoints": "best",
}  # fmt: skip
CPU = Params(device="cpu", dtype="float32", attention="eager", threads=1, processes=1)
