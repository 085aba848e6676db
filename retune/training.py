"""The training loop of the neural learners: transformers' `Trainer` with our data order, evaluation and checkpoints.

What is fixed here beyond the Trainer: the order of all batches is a function of the seed (so a resumed run sees the rest of
it), a checkpoint is complete as soon as it has its name, only trained weights are in it, early stopping and the choice
of the best checkpoint follow from the history alone, and nothing that depends on time enters the history.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from retune import dev_metrics, hardware, progress, stable_hash
from retune.errors import RetuneError
from retune.history import Training

if TYPE_CHECKING:
    from retune.hardware import Chosen
    from retune.params import Params

log = logging.getLogger("retune")

Batch = dict[str, Any]
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
WEIGHTS, CLOCK, STATE = "trained.safetensors", "clock.json", "trainer_state.json"
MEGABATCH = 50  # batches that are sorted by length together: little padding, and the order stays nearly random


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
) -> Training:
    """Train the parameters of `model` that require a gradient, and leave those of the best checkpoint in it.

    `items` are the training rows, `lengths` their tokens (rows of similar length share a batch); `collate` makes a
    batch of CPU tensors of some items; `loss_fn(model, batch)` gives its mean loss, a scalar (default: `.loss` of
    the model's output); `evaluate(model)` gives dev metrics, of which `spec.training.select` picks the checkpoint;
    `rate_factors` multiply the learning rate of the parameters that they name; `tokens_of(batch)` counts its tokens
    (default: the attention mask's sum). An unfinished run in `scratch` is carried on, to the same bytes.

    Raises `RetuneError` for a loss that is not finite, and where there is no row to train on.
    """
    options = spec.training
    if not items:
        raise RetuneError("no training row is left: lower split.dev, split.calibration and split.test, or add data")
    batches = order(lengths, options.batch_size, options.epochs, spec.seed)
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

    loop = Loop(
        model=model,
        args=_arguments(spec, scratch, steps, chosen),
        train_dataset=_Batches(items, batches),
        data_collator=lambda one: collate(one[0]),
        optimizers=(_optimizer(trained, options, rate_factors or {}, chosen), None),
        callbacks=[Evaluations(options.eval_steps, options.patience, options.select)],
        setup=Setup(trained, scratch, evaluate, chosen, options, loss_fn or _own_loss, tokens_of or _attended),
    )
    loop.remove_callback(PrinterCallback)
    last = last_checkpoint(scratch)
    if last is None or not finished(_history(last), options, steps):
        if last is not None:
            log.info("resume after step %d", _step(last))
        with _quiet():
            loop.train(resume_from_checkpoint=str(last) if last else None)
        last = last_checkpoint(scratch)
    assert last is not None, "the last step is always evaluated and saved"

    history = _history(last)
    best = best_record(history, options.select)
    _load(trained, scratch / f"checkpoint-{best['step']}")
    return Training(
        history=[_epochs(record, options.epochs) for record in history],
        resources=_resources(last, items, chosen, counts),
        messages=_messages(history, best, options, steps),
    )


class Setup:
    """What `Loop` needs beyond the Trainer's own arguments."""

    def __init__(
        self,
        trained: dict[str, nn.Parameter],
        scratch: Path,
        evaluate: Callable[[nn.Module], dict[str, float]],
        chosen: Chosen,
        options: Params,
        loss_fn: Callable[[nn.Module, Batch], torch.Tensor],
        tokens_of: Callable[[Batch], int],
    ) -> None:
        self.trained, self.scratch, self.evaluate, self.chosen = trained, scratch, evaluate, chosen
        self.options, self.loss_fn, self.tokens_of = options, loss_fn, tokens_of


class Loop(Trainer):
    """The Trainer with our loss, evaluation, checkpoints and clock; made and used by `run` only."""

    def __init__(self, *, setup: Setup, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.setup = setup
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False  # a batch's mean; the Trainer divides it by the batches of a step
        self.clock = {"seconds": 0.0, "training_seconds": 0.0, "tokens": 0}
        self.started = time.monotonic()

    def compute_loss(self, model: nn.Module, inputs: Batch, *_: Any, **__: Any) -> torch.Tensor:
        self.clock["tokens"] += self.setup.tokens_of(inputs)
        with hardware.autocast(self.setup.chosen):
            return self.setup.loss_fn(model, inputs)

    def training_step(self, *arguments: Any, **more: Any) -> torch.Tensor:
        start = time.monotonic()
        loss = super().training_step(*arguments, **more)
        self.clock["training_seconds"] += time.monotonic() - start
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        self.model.eval()
        with torch.no_grad(), hardware.autocast(self.setup.chosen):
            metrics = {f"eval_{name}": float(value) for name, value in self.setup.evaluate(self.model).items()}
        self.model.train()
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "train_runtime" in logs:  # the Trainer's closing record: times, which differ from run to run
            return
        if not math.isfinite(logs.get("loss", 0.0)):
            raise RetuneError(
                f"the training loss is {logs['loss']} at step {self.state.global_step}: lower training.learning_rate "
                f"({self.setup.options.learning_rate:g}), or set hardware.dtype to float32"
            )
        super().log(logs)

    def floating_point_ops(self, inputs: Batch) -> int:
        return 0

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = self.setup.scratch / f"checkpoint-{self.state.global_step}"
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file({name: w.detach().cpu().contiguous() for name, w in self.setup.trained.items()}, part / WEIGHTS)
        self._save_optimizer_and_scheduler(str(part))
        self._save_scaler(str(part))
        self._save_rng_state(str(part))
        clock = {**self.clock, "seconds": self.clock["seconds"] + time.monotonic() - self.started}
        (part / CLOCK).write_text(json.dumps(clock), encoding="utf-8")
        self.state.save_to_json(str(part / STATE))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)

        best = best_record(self.state.log_history, self.setup.options.select)["step"]
        for other in self.setup.scratch.glob("checkpoint-*"):
            if other.name not in (folder.name, f"checkpoint-{best}"):
                shutil.rmtree(other)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        _load(self.setup.trained, folder)
        self.clock = json.loads((folder / CLOCK).read_text(encoding="utf-8"))


class Evaluations(TrainerCallback):
    """Evaluate and save every `every` steps and at the last; stop when `patience` evaluations brought no gain; progress."""

    def __init__(self, every: int, patience: int, select: str) -> None:
        self.every, self.patience, self.select = every, patience, select

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        self.bar = progress.bar(total=state.max_steps, initial=state.global_step, desc="train", unit="step")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            control.should_log = control.should_evaluate = control.should_save = True

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: Any, metrics: Any, **_: Any) -> None:
        shown = {name.removeprefix("eval_"): f"{metrics[name]:.3f}" for name in ("eval_loss", "eval_auc", "eval_f1") if name in metrics}
        self.bar.set_postfix(shown, refresh=False)
        log.info("step %d of %d: dev %s", state.global_step, state.max_steps, ", ".join(map(" ".join, shown.items())))
        if stale(state.log_history, self.select, self.patience):
            control.should_training_stop = True

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        self.bar.close()


class _Batches(torch.utils.data.Dataset[list[Any]]):
    """Batch number -> its items: the Trainer sees batches as rows, and so never reorders or cuts them."""

    def __init__(self, items: Sequence[Any], batches: list[np.ndarray]) -> None:
        self.items, self.batches = items, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> list[Any]:
        return [self.items[i] for i in self.batches[index]]


def order(lengths: Sequence[int], batch_size: int, epochs: float, seed: int) -> list[np.ndarray]:
    """The row numbers of every batch of a training: each epoch visits every row once, the last perhaps only a part.

    Rows are shuffled, sorted by length within groups of `MEGABATCH` batches, cut into batches, and the batches shuffled.
    """
    size = np.asarray(lengths)
    batches: list[np.ndarray] = []
    per_epoch = math.ceil(len(size) / batch_size)
    for epoch in range(math.ceil(epochs)):
        random = np.random.default_rng([seed, epoch])
        rows = random.permutation(len(size))
        chunks = np.array_split(rows, range(MEGABATCH * batch_size, len(rows), MEGABATCH * batch_size))
        rows = np.concatenate([chunk[np.argsort(size[chunk], kind="stable")] for chunk in chunks])
        cut = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        batches += [cut[i] for i in random.permutation(per_epoch)]
    return batches[: max(1, round(per_epoch * epochs))]


def choose_rows(frame: pl.DataFrame, limit: int | None, seed: int) -> pl.DataFrame:
    """At most `limit` rows, chosen by a hash of seed and id (appended rows displace few), in the order of the table."""
    if limit is None or len(frame) <= limit:
        return frame
    chosen = frame.select(stable_hash.units(pl.col("id"), "rows", seed).rank("ordinal") <= limit).to_series()
    return frame.filter(chosen)


def last_checkpoint(scratch: Path) -> Path | None:
    """The latest complete checkpoint of a scratch folder; one that was being written has another name."""
    found = [path for path in scratch.glob("checkpoint-*") if path.suffix != ".part"]
    return max(found, key=_step, default=None)


def best_record(history: list[dict[str, Any]], select: str) -> dict[str, Any]:
    """The evaluation with the best `select` (the earliest of equals)."""
    evaluations = [record for record in history if f"eval_{select}" in record]
    sign = -1 if select == "loss" else 1
    return max(evaluations, key=lambda record: sign * record[f"eval_{select}"])


def stale(history: list[dict[str, Any]], select: str, patience: int) -> bool:
    """Whether the last `patience` evaluations brought no gain; never for a patience of 0."""
    steps = [record["step"] for record in history if f"eval_{select}" in record]
    return bool(patience and steps) and len(steps) - 1 - steps.index(best_record(history, select)["step"]) >= patience


def finished(history: list[dict[str, Any]], options: Params, steps: int) -> bool:
    """Whether a training with this history has nothing left to do."""
    return history[-1]["step"] >= steps or stale(history, options.select, options.patience)


def _arguments(spec: Params, scratch: Path, steps: int, chosen: Chosen) -> TrainingArguments:
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
        save_strategy="no",  # `Evaluations` decides
        eval_strategy="no",
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataloader_pin_memory=chosen.device.type == "cuda",
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs: by torchrun, never torch's DataParallel
    return arguments


def _optimizer(
    trained: dict[str, nn.Parameter], options: Params, factors: Mapping[str, float], chosen: Chosen
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019); matrices decay, vectors (biases, norms) don't."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in trained.items():
        decay = options.weight_decay if weight.ndim > 1 else 0.0
        groups.setdefault((factors.get(name, 1.0), decay), []).append(weight)
    return torch.optim.AdamW(
        [{"params": p, "lr": options.learning_rate * factor, "weight_decay": d} for (factor, d), p in groups.items()],
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


def _attended(batch: Batch) -> int:
    return int(batch["attention_mask"].sum())


def _load(trained: dict[str, nn.Parameter], folder: Path) -> None:
    saved = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(saved[name])


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _history(checkpoint: Path) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["log_history"]
    return history


def _epochs(record: dict[str, Any], epochs: float) -> dict[str, Any]:
    """The Trainer counts one epoch for all of ours; a constant is no news."""
    kept = {name: value for name, value in record.items() if name != "eval_auc_noise"}
    return {**kept, "epoch": round(record["epoch"] * epochs, 4)}


def _resources(last: Path, items: Sequence[Any], chosen: Chosen, counts: list[int]) -> dict[str, Any]:
    clock = json.loads((last / CLOCK).read_text(encoding="utf-8"))
    return {
        "seconds": round(clock["seconds"], 1),
        "training_seconds": round(clock["training_seconds"], 1),
        "tokens_per_second": round(clock["tokens"] / max(clock["training_seconds"], 1e-9), 1),
        "peak_memory_gib": round(hardware.peak_memory_gib(chosen.device), 2),
        "rows": len(items),
        "tokens": clock["tokens"],
        "device": chosen.device.type,
        "dtype": chosen.dtype_name,
        "attention": chosen.attention,
        "threads": chosen.threads,
        "parameters_total": counts[1],
        "parameters_trained": counts[0],
    }


def _messages(history: list[dict[str, Any]], best: dict[str, Any], options: Params, steps: int) -> list[str]:
    messages = [f"Kept step {best['step']} of {steps}, dev {options.select} {best[f'eval_{options.select}']:.4f}."]
    last = history[-1]["step"]
    if last < steps:
        messages.append(f"Stopped early at step {last} of {steps}: {options.patience} evaluations without gain.")
    if "eval_auc_noise" in best:
        problem = dev_metrics.collapse({name.removeprefix("eval_"): value for name, value in best.items()})
        if problem:
            log.warning(problem)
            messages.append(problem)
    for message in messages[:2]:
        log.info(message)
    return messages


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep transformers' own chatter (not its errors) out of the log."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
