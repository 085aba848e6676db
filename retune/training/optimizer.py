"""The optimiser and its schedule, as the `training` section says, in the Trainer's words."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from retune.training.distributed import data_parallel

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from retune.params import Params
    from retune.training.hardware import Chosen

LAUNCHER_VARIABLES = ("LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""What torchrun, MPI and clusters tell of processes. The Trainer would cut our batches by it; `data_parallel` does."""


def training_arguments(spec: Params, scratch: Path, chosen: Chosen) -> TrainingArguments:
    """The Trainer's arguments; what it shall not do itself is switched off."""
    from transformers import TrainingArguments

    for name in LAUNCHER_VARIABLES:
        os.environ.pop(name, None)
    options = spec.training
    arguments = TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=1,  # one of our batches
        num_train_epochs=1,  # `batch_order` holds all epochs
        learning_rate=options.learning_rate,
        max_grad_norm=options.max_grad_norm,
        fp16=chosen.dtype == torch.float16,  # for its gradient scaler
        use_cpu=chosen.device.type == "cpu",
        seed=spec.seed + data_parallel.rank(),
        logging_steps=min(10, options.eval_steps),
        logging_nan_inf_filter=False,  # a loss that is not finite must be seen
        save_strategy="no",  # `Evaluations` decides
        eval_strategy="no",
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataloader_pin_memory=chosen.device.type == "cuda",
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # torch's DataParallel would cut our batches
    return arguments


def adamw(
    trained: dict[str, nn.Parameter], options: Params, rate_factors: Mapping[str, float], chosen: Chosen
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019); matrices decay, vectors (biases, norms) don't.

    `rate_factors` multiply the learning rate of the parameters that they name.
    Groups of the plain learning rate come first: the first one's is what the history shows.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in trained.items():
        decay = options.weight_decay if weight.ndim > 1 else 0.0
        groups.setdefault((rate_factors.get(name, 1.0), decay), []).append(weight)

    def plain_first(group: tuple[tuple[float, float], Any]) -> bool:
        (factor, _decay), _weights = group
        return factor != 1.0

    return torch.optim.AdamW(
        [
            {"params": weights, "lr": options.learning_rate * factor, "weight_decay": decay}
            for (factor, decay), weights in sorted(groups.items(), key=plain_first)
        ],
        lr=options.learning_rate,
        fused=chosen.device.type in ("cpu", "cuda"),
    )


def schedule(adamw: torch.optim.Optimizer, options: Params, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Multiply the rates of the optimiser by `rate` in each of `steps` steps."""
    return torch.optim.lr_scheduler.LambdaLR(
        adamw, lambda step: rate(min(step, steps - 1), steps, options.schedule, options.warmup_ratio)
    )


def rate(step: int, steps: int, name: str, warmup_ratio: float) -> float:
    """What step `step` (from 0) of `steps` multiplies the learning rate by: above 0 in each, 1 in at least one.

    With w steps of warm-up, ceil(warmup_ratio * steps) but at most all but one: (step + 1) / (w + 1) in these; then,
    after the share p = (step - w) / (steps - w) of the others, 1 - p (linear), (1 + cos(pi p)) / 2 (cosine), or 1.
    """
    warmup = min(math.ceil(warmup_ratio * steps), steps - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / (steps - warmup)
    return {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2, "constant": 1.0}[name]
