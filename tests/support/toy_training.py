"""A model of two features, trained by the same loop as every other, in an instant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from retune.evaluation import dev_metrics
from retune.params import Params, loads
from retune.training import hardware, job
from retune.training.micro_batches import MicroBatches
from tests.support.training_options import CPU, OPTIONS


def spec_of(**change) -> Params:
    return loads(json.dumps({"seed": 7, "hardware": {"sharding": "none"}, "training": OPTIONS | change}))


class Toy(torch.nn.Module):
    """Two features, a frozen and a trained layer, and dropout, which draws from the random generator."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = torch.nn.Linear(2, 16).requires_grad_(False)
        self.trained = torch.nn.Linear(16, 2)
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.trained(self.dropout(torch.tanh(self.frozen(x))))


def rows(count: int = 64) -> list[tuple[list[float], int]]:
    random = np.random.default_rng(0)
    points = random.normal(size=(count, 2))
    return [(point.tolist(), int(point.sum() + random.normal() > 0)) for point in points]


def collate(items, batch):
    return {
        "x": torch.tensor([x for x, _ in items]),
        "labels": torch.tensor([y for _, y in items]),
        "of": len(batch),
    }


def rows_per_micro_batch(collate, rows):
    def split(items, batch, size):
        return [collate(items[start : start + size], batch) for start in range(0, len(items), size)]

    return MicroBatches(split, rows, "rows")


def loss(model, one):
    return torch.nn.functional.cross_entropy(model(one["x"]), one["labels"], reduction="sum") / one["of"]


def evaluate(model):
    batch = collate(rows(40), rows(40))
    logits = model(batch["x"])
    return dev_metrics.pair(batch["labels"].numpy(), (logits[:, 1] - logits[:, 0]).numpy())


def train(scratch: Path, spec: Params | None = None, evaluate=evaluate, model: Toy | None = None, **more):
    model = model or Toy()
    items = more.pop("items", rows())
    known = {"micro_batches": rows_per_micro_batch(collate, 8), "loss": loss} | more
    training = job.Job(
        model=model,
        items=items,
        lengths=[1 + i % 7 for i in range(len(items))],
        evaluate=evaluate,
        chosen=hardware.choose(CPU),
        tokens_of=lambda one: len(one["x"]),
        **known,
    )
    return model, job.run(training, spec or spec_of(), scratch)
