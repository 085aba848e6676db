"""The training loop of the neural learners: transformers' `Trainer` with our data order, evaluation and checkpoints.

What is fixed here beyond the Trainer: the order of all batches is known before the first (so a resumed run sees the
rest of it), a checkpoint is complete as soon as it has its name, only trained weights are in it, early stopping and the
choice of the best checkpoint follow from the history alone, and nothing that depends on time enters the history.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from retune import batch_order, hardware, selection, stable_hash
from retune.batch_order import Batches
from retune.errors import RetuneError
from retune.history import Training

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from retune.hardware import Chosen
    from retune.loop import Batch
    from retune.params import Params

log = logging.getLogger("retune")

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def run(
    model: nn.Module,
    items: Sequence[Any],
    collate: Callable[[list[Any]], Batch],
    spec: Params,
    scratch: Path,
    evaluate: Callable[[nn.Module], dict[str, float]],
    *,
    chosen: Chosen,
    lengths: Sequence[int],
    loss_fn: Callable[[nn.Module, Batch], torch.Tensor] | None = None,
    rate_factors: Mapping[str, float] | None = None,
    tokens_of: Callable[[Batch], int] | None = None,
    parts_of: Callable[[Batch], list[Batch]] | None = None,
    precision: Callable[[], AbstractContextManager[Any]] | None = None,
) -> Training:
    """Train the parameters of `model` that require a gradient, and leave those of the best checkpoint in it.

    `items` are the training rows, `lengths` their tokens (rows of similar length share a batch); `collate` makes a
    batch of CPU tensors of some items; `loss_fn(model, batch)` gives its mean loss, a scalar (default: `.loss` of
    the model's output); `evaluate(model)` gives dev metrics, of which `spec.training.select` picks the checkpoint;
    `rate_factors` multiply the learning rate of the parameters that they name; `tokens_of(batch)` counts its tokens
    (default: the attention mask's sum); `parts_of(batch)` cuts it into passes whose losses add up to the batch's;
    `precision()` is the context of a forward pass (default: autocast to the chosen dtype). An unfinished run in
    `scratch` is carried on, to the same bytes.

    Raises `RetuneError` for a loss that is not finite, and where there is no row to train on.
    """
    # The Trainer takes seconds to import; predictions and untuned models have no use for it.
    from transformers.trainer_callback import PrinterCallback

    from retune import loop
    from retune.loop import Evaluations, Loop, Setup

    options = spec.training
    if not items:
        raise RetuneError("no training row is left: lower split.dev, split.calibration and split.test, or add data")
    batches = batch_order.order(lengths, options.batch_size, options.epochs, spec.seed)
    steps = math.ceil(len(batches) / options.gradient_accumulation)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    hardware.make_deterministic(spec.seed)
    model.to(chosen.device)
    if options.gradient_checkpointing:
        _checkpoint_activations(model)

    run_of_steps = "%d rows, %d steps of %d rows, %s of %s parameters trained"
    per_step = options.batch_size * options.gradient_accumulation
    counts = [sum(w.numel() for w in weights) for weights in (trained.values(), model.parameters())]
    log.info(run_of_steps, len(items), steps, per_step, f"{counts[0]:,}", f"{counts[1]:,}")

    trainer = Loop(
        model=model,
        args=_arguments(spec, scratch, steps, chosen),
        train_dataset=Batches(items, batches),
        data_collator=lambda one: collate(one[0]),
        optimizers=(_optimizer(trained, options, rate_factors or {}, chosen), None),
        callbacks=[Evaluations(options.eval_steps, options.patience, options.select)],
        setup=Setup(
            trained,
            scratch,
            evaluate,
            chosen,
            options,
            loss_fn or _own_loss,
            tokens_of or _attended,
            parts_of or _whole,
            precision or functools.partial(hardware.autocast, chosen),
        ),
    )
    trainer.remove_callback(PrinterCallback)
    last = loop.last_checkpoint(scratch)
    if last is None or not selection.finished(loop.history_of(last), options, steps):
        if last is not None:
            log.info("resume after step %d", loop.step_of(last))
        with _quiet():
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        last = loop.last_checkpoint(scratch)
    assert last is not None, "the last step is always evaluated and saved"

    history = loop.history_of(last)
    best = selection.best_record(history, options.select)
    loop.load_weights(trained, scratch / f"checkpoint-{best['step']}")
    return Training(
        history=[_epochs(record, options.epochs) for record in history],
        resources=_resources(json.loads((last / loop.CLOCK).read_text(encoding="utf-8")), len(items), chosen, counts),
        messages=selection.messages(history, best, options, steps),
    )


def untuned(
    model: nn.Module, chosen: Chosen, metrics: dict[str, float], *, seconds: float, fitted: int, message: str
) -> Training:
    """The record of a model that is not trained (`epochs: 0`); `fitted` parameters were set from training rows."""
    history = {f"eval_{name}": value for name, value in metrics.items() if name != "auc_noise"}
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


def _arguments(spec: Params, scratch: Path, steps: int, chosen: Chosen) -> TrainingArguments:
    from transformers import TrainingArguments

    options = spec.training
    arguments = TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=1,  # one of our batches
        num_train_epochs=1,  # `order` holds all epochs
        gradient_accumulation_steps=options.gradient_accumulation,
        learning_rate=options.learning_rate,
        lr_scheduler_type=SCHEDULES[options.schedule],
        warmup_steps=math.ceil(options.warmup_ratio * steps),
        max_grad_norm=options.max_grad_norm,
        fp16=chosen.dtype == torch.float16,  # for its gradient scaler
        use_cpu=chosen.device.type == "cpu",
        seed=spec.seed,
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


def _optimizer(
    trained: dict[str, nn.Parameter], options: Params, factors: Mapping[str, float], chosen: Chosen
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019); matrices decay, vectors (biases, norms) don't.

    Groups of the plain learning rate come first: the first one's is what the history shows.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in trained.items():
        decay = options.weight_decay if weight.ndim > 1 else 0.0
        groups.setdefault((factors.get(name, 1.0), decay), []).append(weight)

    def plain_first(group: tuple[tuple[float, float], Any]) -> bool:
        return group[0][0] != 1.0

    return torch.optim.AdamW(
        [
            {"params": p, "lr": options.learning_rate * factor, "weight_decay": d}
            for (factor, d), p in sorted(groups.items(), key=plain_first)
        ],
        lr=options.learning_rate,
        fused=chosen.device.type in ("cpu", "cuda"),
    )


def _checkpoint_activations(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.activation_checkpointing_enable({"use_reentrant": False})
            return


def _own_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    loss: torch.Tensor = model(**batch).loss
    return loss


def _whole(batch: Batch) -> list[Batch]:
    return [batch]


def _attended(batch: Batch) -> int:
    return int(batch["attention_mask"].sum())


def _epochs(record: dict[str, Any], epochs: float) -> dict[str, Any]:
    """The Trainer counts one epoch for all of ours; a constant is no news."""
    kept = {name: value for name, value in record.items() if name != "eval_auc_noise"}
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
        "device": chosen.device.type,
        "dtype": chosen.dtype_name,
        "attention": chosen.attention,
        "threads": chosen.threads,
    }


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep transformers' own chatter (not its errors) out of the log."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
