"""The training loop of the neural learners: transformers' `Trainer` with our data order, evaluation and checkpoints.

What is fixed here beyond the Trainer: the order of all batches is known before the first (so a resumed run sees the
rest of it), a checkpoint is complete as soon as it has its name, only trained weights are in it, early stopping and the
choice of the best checkpoint follow from the history alone, and nothing that depends on time enters the history.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from torch import nn
from transformers import PreTrainedModel

from retune import stable_hash
from retune.errors import RetuneError
from retune.evaluation import dev_metrics
from retune.training import batch_order, checkpoint_choice, hardware, optimizer, out_of_memory, pretrained
from retune.training.batch_order import Batches
from retune.training.distributed import data_parallel, fsdp, zero1
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.hardware import Chosen
    from retune.training.micro_batches import Batch, MicroBatches

log = logging.getLogger("retune")


def _attended(batch: Batch) -> int:
    return int(batch["attention_mask"].sum())


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: of a model, on items, measured on dev."""

    model: nn.Module
    """Its parameters that require a gradient are trained."""
    items: Sequence[Any]
    """What a batch is made of: the training rows, or (kind ranking) their queries."""
    lengths: Sequence[int]
    """The tokens of each item: items of similar length share a batch."""
    micro_batches: MicroBatches
    """Splits the items of a batch into forward passes."""
    loss: Callable[[nn.Module, Batch], torch.Tensor]
    """`loss(model, one)` gives what one micro-batch adds to the mean loss of its batch, a scalar."""
    evaluate: Callable[[nn.Module], dict[str, float]]
    """Gives dev metrics, of which `training.select` picks the checkpoint."""
    chosen: Chosen
    """Where and how the model runs."""
    batch_size: int | None = None
    """Items in a batch; None: `training.batch_size`, which counts rows."""
    together: Sequence[Hashable] | None = None
    """Items of equal values stand in one batch where it has room."""
    rate_factors: Mapping[str, float] = field(default_factory=dict)
    """What the learning rate of the parameters that it names is multiplied by."""
    tokens_of: Callable[[Batch], int] = _attended
    """Counts the tokens of a micro-batch; default: those that the attention mask shows."""
    precision: Callable[[], AbstractContextManager[Any]] | None = None
    """The context of a forward pass; None: autocast to the chosen dtype."""


def run(job: Job, spec: Params, scratch: Path) -> Training:
    """Train the model as the section `training` of `spec` says, and leave the weights of the best checkpoint in it.

    An unfinished run in `scratch` is carried on, to the same bytes. Raises `RetuneError` for a loss that is not finite,
    where there is no item to train on, and where memory runs out for a single one.
    """
    # The Trainer takes seconds to import; untuned models have no use for it.
    from transformers.trainer_callback import PrinterCallback

    from retune.training import trainer
    from retune.training.trainer import ITEMS, Evaluations, Loop

    options, model = spec.training, job.model
    if not job.items:
        raise RetuneError("no training row is left: lower split.dev, split.calibration and split.test, or add data")
    batch_size = job.batch_size or options.batch_size
    batches = batch_order.order(job.lengths, batch_size, options.epochs, spec.seed, job.together)
    whole = len(batches)
    if options.max_steps:
        batches = batches[: options.max_steps]
    epochs = options.epochs * len(batches) / whole
    steps = len(batches)
    checkpoint_choice.check(options, steps)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    hardware.make_deterministic(spec.seed + data_parallel.rank())  # every process draws its own dropout
    if not fsdp.is_sharded(model):
        model.to(job.chosen.device)
    data_parallel.broadcast_weights(list(trained.values()))
    if options.gradient_checkpointing:
        _checkpoint_activations(model)

    run_of_steps = "%d rows, %d steps of %d rows, %s of %s parameters trained"
    counts = [sum(w.numel() for w in weights) for weights in (trained.values(), model.parameters())]
    log.info(run_of_steps, len(job.items), steps, batch_size, f"{counts[0]:,}", f"{counts[1]:,}")

    with pretrained.quiet():
        arguments = optimizer.training_arguments(spec, scratch, job.chosen)
    adamw = optimizer.adamw(trained, options, job.rate_factors, job.chosen)
    if shares := spec.hardware.get("sharding") == "optimizer":
        zero1.shard(adamw)
    loop = Loop(
        job,
        options,
        scratch,
        trained,
        shares,
        args=arguments,
        train_dataset=Batches(job.items, batches),
        data_collator=lambda one: {ITEMS: one[0]},
        optimizers=(adamw, optimizer.schedule(adamw, options, steps)),
        callbacks=[Evaluations(options.eval_steps, options.patience, options.select)],
    )
    loop.remove_callback(PrinterCallback)
    if data_parallel.rank() == 0:
        _forget_what_cannot_serve(scratch, options)
    data_parallel.barrier()
    last = trainer.last_checkpoint(scratch)
    if last is None or not checkpoint_choice.finished(trainer.history_of(last), options, steps):
        if last is not None:
            log.info("resume after step %d", trainer.step_of(last))
        with pretrained.quiet(), out_of_memory.explain_oom("the optimiser's step"):
            loop.train(resume_from_checkpoint=str(last) if last else None)
        last = trainer.last_checkpoint(scratch)
    assert last is not None, "the last step is always evaluated and saved"

    history = trainer.history_of(last)
    kept = checkpoint_choice.model_record(history, options)
    if kept is None:
        raise RetuneError(
            f"training.checkpoint is {options.checkpoint}, but the training stopped early, at step "
            f"{history[-1]['step']}: take an earlier one, `best`, or training.patience 0"
        )
    trainer.load_weights(trained, scratch / f"checkpoint-{kept['step']}")
    if data_parallel.rank() == 0:
        trainer.strip(last)
    clock = json.loads((last / trainer.CLOCK).read_text(encoding="utf-8"))
    limit = job.micro_batches.limit()
    limit.size = clock["pass"]
    return Training(
        history=[_epochs(record, epochs) for record in history],
        resources=_resources(clock, len(job.items), job.chosen, counts),
        messages=[*checkpoint_choice.messages(history, options, steps), *limit.messages],
        warnings=checkpoint_choice.warnings(history, spec),
    )


def untuned(
    model: nn.Module, chosen: Chosen, metrics: dict[str, float], *, seconds: float, fitted: int, message: str
) -> Training:
    """The record of a model that is not trained (`epochs: 0`); `fitted` parameters were set from training rows."""
    history = {f"eval_{name}": value for name, value in dev_metrics.of_the_model(metrics).items()}
    total = sum(weight.numel() for weight in model.parameters())
    return Training(
        history=[{"step": 0, "epoch": 0.0, **history}],
        resources={
            "seconds": round(seconds, 1),
            **_machine(chosen),
            "parameters_total": total,
            "parameters_trained": fitted,
        },
        messages=[message],
    )


def choose_rows(frame: pl.DataFrame, limit: int | None, seed: int) -> pl.DataFrame:
    """At most `limit` rows, chosen by a hash of seed and id (appended rows displace few), in the order of the table."""
    if limit is None or len(frame) <= limit:
        return frame
    chosen = frame.select(stable_hash.units(pl.col("id"), "rows", seed).rank("ordinal") <= limit).to_series()
    return frame.filter(chosen)


def _forget_what_cannot_serve(scratch: Path, options: Params) -> None:
    """Empty a scratch folder whose training has passed the wanted checkpoint without keeping its weights."""
    from retune.training import trainer

    last = trainer.last_checkpoint(scratch)
    if last is None or (kept := checkpoint_choice.model_record(trainer.history_of(last), options)) is None:
        return
    if not (scratch / f"checkpoint-{kept['step']}" / trainer.WEIGHTS).exists():
        log.info("the weights after step %d were not kept: the training begins anew", kept["step"])
        for checkpoint in scratch.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)


def _checkpoint_activations(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.activation_checkpointing_enable({"use_reentrant": False})
            return


def _epochs(record: dict[str, Any], epochs: float) -> dict[str, Any]:
    """The Trainer counts one epoch for all of ours; a constant is no news."""
    measured = dev_metrics.of_the_model({name.removeprefix("eval_"): value for name, value in record.items()})
    kept = {name: value for name, value in record.items() if name.removeprefix("eval_") in measured}
    return {**kept, "epoch": round(record["epoch"] * epochs, 4)}


def _resources(clock: dict[str, Any], rows: int, chosen: Chosen, counts: list[int]) -> dict[str, Any]:
    return {
        "seconds": round(clock["seconds"], 1),
        "training_seconds": round(clock["training_seconds"], 1),
        "tokens_per_second": round(clock["tokens"] / max(clock["training_seconds"], 1e-9), 1),
        "rows": rows,
        "tokens": clock["tokens"],
        **_machine(chosen),
        "parameters_total": counts[1],
        "parameters_trained": counts[0],
    }


def _machine(chosen: Chosen) -> dict[str, Any]:
    return {
        "peak_memory_gib": round(hardware.peak_memory_gib(chosen.device), 2),
        "threads": chosen.threads,
        **chosen.machine,
        "processes": data_parallel.world_size(),
    }
