"""Train one job with Retune: `python retune_.py job.json`, in Retune's environment.

Retune's own training loop, batches and loss (retune.learners.llm); only the order of the rows is given, since no tool
may shuffle here, and dev is scored by dev_loss.py as for the other tools.
"""

from __future__ import annotations

# First: it tells torch's threads how to wait, before torch is loaded.
import retune
from retune import params
from retune.llm import adapter
from retune.llm.reading import packed_by
from retune.llm.sft_loss import SFTLoss
from retune.training import batch_order, hardware
from retune.training.job import Job, run
from retune.training.micro_batches import MicroBatches

# isort: split
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import limit
import numpy as np
import record
import transformers


def main() -> None:
    """Load, train, save the adapter, print the measurements."""
    job = record.read_job()
    clock = record.start()
    batch_order.order = in_order
    spec = spec_of(job)
    chosen = hardware.choose(spec.hardware, tree_attention=True)
    base = adapter.load_base(Path(job["base"]), spec, chosen)
    model = adapter.add(base, spec.lora, spec.base_name, spec.seed, chosen)  # the weights of job["start"]: one seed
    items = [
        (row["prompt_ids"], row["answer_ids"], [1.0] * len(row["answer_ids"])) for row in record.read_rows(job["rows"])
    ]
    packed = packed_by(base, chosen, [prompt for prompt, *_ in items])

    objective = SFTLoss(packed)
    size = spec.training.batch_size
    batches = [
        one["packed"]
        for start in range(0, len(items), size)
        for one in objective.split(
            items[start : start + size], items[start : start + size], spec.training.packed_tokens
        )
    ]
    training = Job(
        model=model,
        items=items,
        lengths=[len(prompt) for prompt, *_ in items],
        micro_batches=MicroBatches(objective.split, spec.training.packed_tokens, "tokens"),
        loss=objective.loss,
        evaluate=lambda model: {"loss": 0.0},
        chosen=chosen,
        tokens_of=objective.tokens,
        precision=lambda: adapter.mixed_precision(base, chosen),
    )
    run(training, spec, Path(job["scratch"]))
    adapter.save(model, Path(job["adapter"]))
    tokens = sum(batch.input_ids.numel() for batch in batches)
    seen = sum(int(batch.row.depth.sum()) + len(batch.row.depth) for batch in batches if batch.row)
    needed = limit.operations(base, tokens, seen, sum(len(answer) for _, answer, _ in items))
    speed = limit.speed(base, tokens // len(batches), chosen.dtype)
    clock.report(
        computed_tokens=tokens,
        limit_seconds=needed / speed,
        gigaflops=speed / 1e9,
        version=f"retune {retune.__version__}, transformers {transformers.__version__}",
        kernel=str(packed.kernel),
    )


def spec_of(job: dict[str, Any]) -> params.Params:
    """What params-resolved.json would tell of this model."""
    spec = {
        "seed": job["seed"],
        "base_name": "benchmark",
        "training": {
            "epochs": job["epochs"],
            "max_steps": None,
            "batch_size": job["batch_size"],
            "learning_rate": job["learning_rate"],
            "schedule": "linear",
            "warmup_ratio": job["warmup_ratio"],
            "weight_decay": job["weight_decay"],
            "max_grad_norm": job["max_grad_norm"],
            "max_length": job["max_length"],
            "eval_steps": 1_000_000,
            "patience": 0,
            "select": "loss",
            "checkpoint": "best",
            "keep_checkpoints": "best",
            "packed_tokens": 4096,
            "gradient_checkpointing": False,
        },
        "lora": {
            "method": "lora",
            "r": job["r"],
            "alpha": job["alpha"],
            "dropout": 0.0,
            "targets": job["targets"],
        },
        "quantization": {"bits": 16, "double": True},
        "hardware": {
            "device": "auto",
            "dtype": job["dtype"],
            "attention": "auto",
            "threads": job["threads"],
            "processes": 1,
            "sharding": "none",
        },
    }
    return params.loads(json.dumps(spec))


def in_order(lengths: Sequence[int], batch_size: int, *_: Any) -> list[np.ndarray]:
    """Batches of the rows as they stand, in the place of `batch_order.order`."""
    rows = np.arange(len(lengths))
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


if __name__ == "__main__":
    main()
