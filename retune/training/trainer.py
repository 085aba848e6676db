"""The Trainer of `retune.training.job`: our loss, evaluation and clock, and checkpoints that are complete or absent.

Of transformers' `Trainer` it keeps the loop over steps: clipping, gradient scaler, random states. A step is one of our
batches, whose passes `training_step` makes, so the Trainer never accumulates. These of its private methods are
overridden, so a new version of transformers is looked through for them:

- `_move_model_to_device`: the model stands where `run` has put it, layers that wait in memory among them.
- `_save_checkpoint`: a folder gets its name when all of it is written, and holds no frozen weight.
- `_load_from_checkpoint`: puts the trained weights back alone, with the clock and the size of a micro-batch.
- `_load_rng_state`: each process goes on with the random states of its own.
- `_load_optimizer_and_scheduler`: each process takes its share of the optimiser's state, where it is divided.

Called, and so relied on: `_save_rng_state`, `_save_optimizer_and_scheduler`, `_save_scaler`. Set in
retune.training.optimizer: `TrainingArguments._n_gpu`, or torch's DataParallel would cut our batches.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from retune import progress
from retune.errors import RetuneError
from retune.training import checkpoint_choice, hardware, out_of_memory
from retune.training.distributed import data_parallel, fsdp, zero1

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.job import Job
    from retune.training.micro_batches import Batch

log = logging.getLogger("retune")

ITEMS = "items"
"""Where the Trainer's batch holds ours: rows, that are cut into passes when their turn comes."""

WEIGHTS, CLOCK, STATE = "trained.safetensors", "clock.json", "trainer_state.json"


class Loop(Trainer):
    """The Trainer with our loss, evaluation, checkpoints and clock; made and used by `run` only."""

    def __init__(
        self,
        job: Job,
        options: Params,
        scratch: Path,
        trained: dict[str, nn.Parameter],
        shares: bool,
        **arguments: Any,
    ) -> None:
        """`options` is the section `training`, `trained` the parameters that are trained, by name.

        `shares`: each process keeps its share of the optimiser's state (retune.training.distributed.zero1).
        """
        super().__init__(model=job.model, **arguments)
        self.control: TrainerControl = self.control
        self.job, self.options, self.scratch, self.trained, self.shares = job, options, scratch, trained, shares
        self.model_accepts_loss_kwargs = False
        self.clock: dict[str, Any] = {"seconds": 0.0, "training_seconds": 0.0, "tokens": 0}
        self.limit = job.micro_batches.limit()
        self.limit.fixed = self.in_step = fsdp.in_lockstep(self.model)
        self.precision = job.precision or functools.partial(hardware.autocast, job.chosen)
        self.idle = False  # whether a pass counts nothing, and is made for the other processes
        self.started = time.monotonic()

    def compute_loss(self, model: nn.Module, inputs: Batch, *_: Any, **__: Any) -> torch.Tensor:
        """What one pass adds to the loss of its batch, in mixed precision."""
        with self.precision():
            loss = self.job.loss(model, inputs)
        return 0 * loss if self.idle else loss

    def _move_model_to_device(self, model: nn.Module, device: torch.device) -> None:
        """`run` has placed it; parts that wait in memory have to stay there."""

    def training_step(self, model: nn.Module, inputs: Batch, *_: Any, **__: Any) -> torch.Tensor:
        """Forward and backward of one batch, pass by pass, on the clock; its loss, over all processes.

        Where memory lacks, the gradient is begun anew in smaller passes: how much of it a failed backward had added is
        not known.
        """
        start = time.monotonic()
        items = inputs[ITEMS]
        done = out_of_memory.run_or_oom(functools.partial(self._backward, model, items))
        while done is out_of_memory.OOM:
            model.zero_grad()
            self.limit.lower(functools.partial(self.job.micro_batches.passes, data_parallel.local_rows(items), items))
            done = out_of_memory.run_or_oom(functools.partial(self._backward, model, items))
        loss, tokens = done
        if data_parallel.active():
            data_parallel.all_reduce_gradients(list(self.trained.values()))
            total, tokens = data_parallel.all_reduce_sum([float(loss), tokens])
            loss = loss.new_tensor(total)
        self.clock["tokens"] += int(tokens)
        self.clock["training_seconds"] += time.monotonic() - start
        return loss

    def _backward(self, model: nn.Module, items: list[Any]) -> tuple[torch.Tensor, float]:
        """Add the gradient of this process's rows of a batch; their part of its loss, and their tokens."""
        loss, tokens = torch.zeros((), device=self.args.device), 0
        passes = self.job.micro_batches.split(data_parallel.local_rows(items), items, self.limit.size)
        idle = max(data_parallel.all_gather_object(len(passes))) - len(passes) if self.in_step else 0
        for one in passes:
            tokens += self.job.tokens_of(one)
            loss = loss + super().training_step(model, one)
        self.idle = True
        for _ in range(idle):  # others make more passes, and none without this process
            super().training_step(model, self.job.micro_batches.split(items[:1], items, self.limit.size)[0])
        self.idle = False
        return loss, tokens

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Dev metrics by the learner's own function, named `eval_...`; the first process's are everyone's.

        The others compute them too where a forward pass needs all processes.
        """
        metrics: dict[str, float] = {}
        if data_parallel.rank() == 0 or fsdp.is_sharded(self.model):
            self.model.eval()
            with torch.no_grad(), self.precision():
                metrics = {f"eval_{name}": float(value) for name, value in self.job.evaluate(self.model).items()}
            self.model.train()
        metrics = data_parallel.broadcast_object(metrics)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add a record to the history; raises `RetuneError` for a loss that is not finite."""
        if "train_runtime" in logs:  # the Trainer's closing record, of times
            return
        if not math.isfinite(logs.get("loss", 0.0)):
            raise RetuneError(
                f"the training loss is {logs['loss']} at step {self.state.global_step}: lower training.learning_rate "
                f"({self.options.learning_rate:g}), or set hardware.dtype to float32"
            )
        super().log(logs)

    def floating_point_ops(self, inputs: Batch) -> int:
        """None are counted: the Trainer's estimate is wrong for shared prefixes and frozen layers."""
        return 0

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write what the run needs to go on; the other processes add their own states alone."""
        folder = self.scratch / f"checkpoint-{self.state.global_step}"
        part, first = folder.with_name(folder.name + ".part"), data_parallel.rank() == 0
        if first:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        size = min(data_parallel.all_gather_object(self.limit.size))
        self._save_rng_state(str(_own(part)))
        if self.shares and not first:
            self._save_optimizer_and_scheduler(str(_own(part)))
        data_parallel.barrier()
        if first:
            self._write(part, folder, size)
        data_parallel.barrier()

    def _write(self, part: Path, folder: Path, size: int) -> None:
        """All but the other processes' states into `part`, which becomes `folder`; of others only weights stay."""
        save_file({name: w.detach().cpu().contiguous() for name, w in self.trained.items()}, part / WEIGHTS)
        self._save_optimizer_and_scheduler(str(part))
        self._save_scaler(str(part))
        clock = {**self.clock, "seconds": self.clock["seconds"] + time.monotonic() - self.started, "pass": size}
        (part / CLOCK).write_text(json.dumps(clock), encoding="utf-8")
        self.state.save_to_json(str(part / STATE))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)

        keep = checkpoint_choice.steps_to_keep(self.state.log_history, self.options)
        for other in self.scratch.glob("checkpoint-*"):
            if other == folder:
                continue
            if other.suffix == ".part" or step_of(other) not in keep:
                shutil.rmtree(other)
            else:
                strip(other)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(str(_own(Path(checkpoint))) if checkpoint else None)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint and self.shares:
            zero1.load_state(self.optimizer, Path(checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_weights(self.trained, folder)
        self.clock = json.loads((folder / CLOCK).read_text(encoding="utf-8"))
        self.limit.size = int(self.clock["pass"])


class Evaluations(TrainerCallback):
    """Evaluate and save every `every` steps and at the last; stop after `patience` of them without gain; show it."""

    def __init__(self, every: int, patience: int, select: str) -> None:
        self.every, self.patience, self.select = every, patience, select

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        """Open the bar where the training stands."""
        self.bar = progress.bar(total=state.max_steps, initial=state.global_step, desc="train", unit="step")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        """Ask for an evaluation and a checkpoint where they are due."""
        self.bar.update(state.global_step - self.bar.n)
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            control.should_log = control.should_evaluate = control.should_save = True

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: Any, metrics: Any, **_: Any) -> None:
        """Show the metrics; stop a training that gains nothing."""
        shown = {
            name: f"{metrics[f'eval_{name}']:.3f}"
            for name in ("loss", "auc", "f1", "macro_f1", "ndcg", "mae")
            if f"eval_{name}" in metrics
        }
        self.bar.set_postfix(shown, refresh=False)
        log.info("step %d of %d: dev %s", state.global_step, state.max_steps, ", ".join(map(" ".join, shown.items())))
        if checkpoint_choice.out_of_patience(state.log_history, self.select, self.patience):
            control.should_training_stop = True

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        """Close the bar."""
        self.bar.close()


def last_checkpoint(scratch: Path) -> Path | None:
    """The latest complete checkpoint of a scratch folder; one that was being written has another name."""
    found = [path for path in scratch.glob("checkpoint-*") if path.suffix != ".part"]
    return max(found, key=step_of, default=None)


def strip(checkpoint: Path) -> None:
    """Leave of a checkpoint what tells its history and gives its weights, not what a training goes on from."""
    for path in checkpoint.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (WEIGHTS, CLOCK, STATE):
            path.unlink()


def load_weights(trained: dict[str, nn.Parameter], folder: Path) -> None:
    """Put the weights of a checkpoint into the parameters that are trained."""
    saved = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(saved[name])


def _own(checkpoint: Path) -> Path:
    """Where this process keeps the states of its random generators and of its share of the optimiser."""
    return checkpoint / f"rank-{data_parallel.rank()}" if data_parallel.rank() else checkpoint


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def history_of(checkpoint: Path) -> list[dict[str, Any]]:
    """The log records up to a checkpoint."""
    history: list[dict[str, Any]] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["log_history"]
    return history
