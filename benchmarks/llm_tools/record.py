"""What each driver measures, by the hooks of transformers' Trainer, with which all three tools train."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import transformers
from transformers import TrainerCallback


class Record(TrainerCallback):
    """The clock of the training steps and the loss of each; `start` puts it into every Trainer made after it."""

    def __init__(self) -> None:
        self.begin = self.end = 0.0
        self.losses: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock: the first batch is made after this."""
        self.begin = time.monotonic()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """A step's loss is the sum over its passes."""
        self.losses.append(0.0)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop it behind the optimiser's step; evaluations and checkpoints behind the last one do not count."""
        self.end = time.monotonic()

    def report(self, **more: Any) -> None:
        """Print the measurements as the last line, in JSON."""
        result = {
            "step_seconds": self.end - self.begin,
            "steps": len(self.losses),
            "first_loss": self.losses[0],
            "last_loss": self.losses[-1],
            "peak_gib": peak_gib(),
        }
        print(json.dumps({**result, **more}), flush=True)


def start() -> Record:
    """A `Record` in all Trainers that are made from now on."""
    record = Record()
    transformers.trainer.DEFAULT_CALLBACKS.append(record)
    step = transformers.Trainer.training_step

    def recorded(self: Any, *arguments: Any, **more: Any) -> Any:
        loss = step(self, *arguments, **more)
        record.losses[-1] += float(loss)
        return loss

    transformers.Trainer.training_step = recorded
    return record


def read_job() -> dict[str, Any]:
    """The job that the command line names; benchmarks/llm.py wrote it."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return job


def read_rows(path: str) -> list[dict[str, Any]]:
    """Rows of JSON lines; see `Row` in benchmarks/workloads.py."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def tokenized(path: str) -> dict[str, list[list[int]]]:
    """Rows as token ids and labels, the loss on the answer and the end of its turn only."""
    rows = read_rows(path)
    return {
        "input_ids": [[*row["prompt_ids"], *row["answer_ids"]] for row in rows],
        "labels": [[-100] * len(row["prompt_ids"]) + row["answer_ids"] for row in rows],
    }


def trainer_arguments(job: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a transformers Trainer that are the same in every tool."""
    import torch

    return {
        "output_dir": job["scratch"],
        "per_device_train_batch_size": job["batch_size"],
        "gradient_accumulation_steps": 1,
        "num_train_epochs": job["epochs"],
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "linear",
        "warmup_steps": job["warmup_steps"],
        "weight_decay": job["weight_decay"],
        "max_grad_norm": job["max_grad_norm"],
        "seed": job["seed"],
        "bf16": job["dtype"] == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
        "disable_tqdm": True,
    }


def peak_gib() -> float:
    """Peak resident memory of this process in GiB (the allocated memory of the GPU where there is one)."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
