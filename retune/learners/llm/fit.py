"""Train an adapter, or all weights, on the targets of the training rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import kinds, labels
from retune.encoders import tokens
from retune.evaluation import dev_metrics
from retune.learners.llm.task_prompt import prepare
from retune.llm import adapter
from retune.llm.prompt import prompt, targets
from retune.llm.reading import packed_by, score
from retune.llm.sft_loss import Item, SFTLoss
from retune.training import curriculum, hardware, job
from retune.training.distributed import fsdp, launch
from retune.training.micro_batches import MicroBatches
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.llm.prompt.prompt import ChatPrompt
    from retune.params import Params

log = logging.getLogger("retune")


@launch.in_parallel
def fit(
    spec: Params,
    train: pl.DataFrame,
    dev: pl.DataFrame,
    base: Path,
    out: Path,
    scratch: Path,
    last: Path | None = None,
    measure: Callable[[pl.DataFrame, np.ndarray], dict[str, float]] | None = None,
) -> Training:
    """Train on the answers of `train`, keep the best checkpoint on `dev`, write adapter or weights to `out`.

    `last`: the model's last version, whose adapter or weights are the first ones of this training.
    `measure` gives dev metrics of dev rows and their log-probabilities [rows, labels]; default: those of the kind.
    """
    start = time.monotonic()
    chosen = hardware.choose(spec.hardware, tree_attention=True)
    hardware.make_deterministic(spec.seed)
    chat = prepare(spec, base)
    if spec.training.epochs == 0:
        message = "The base is untuned (training.epochs is 0): its answers are scored zero-shot, nothing is fitted."
        return Training([], {"seconds": round(time.monotonic() - start, 1), "parameters_trained": 0}, [message])
    phases = curriculum.phases(spec, train)
    inputs = [encode(chat, phase.rows, spec) for phase in phases]
    dev = job.choose_rows(curriculum.rows_of_model(spec, dev), spec.training.dev_rows, spec.seed)
    dev_inputs = encode(chat, dev, spec)
    divided = fsdp.is_enabled(spec.hardware, chosen)
    full = adapter.trained_whole(spec)
    model = adapter.load_base(last if last and full else base, spec, chosen, divided)
    trained: Any = model
    if not full:
        frozen = spec.training.freeze_layers
        trained = adapter.add(model, spec.lora, spec.base_name, spec.seed, chosen, freeze_layers=frozen)
        if last:
            adapter.restore(trained, last)
    if divided:
        fsdp.shard(model, spec.hardware, chosen, adapter.mixed_precision(model, chosen))
    packed = packed_by(model, chosen, inputs[0].prompts.ids)
    packed.limit.fixed = fsdp.in_lockstep(model)
    objective = SFTLoss(packed)

    dimensions = dev["dimension"].cast(pl.String).to_numpy() if spec.kind == "scoring" else None

    def evaluate(_model: Any) -> dict[str, float]:
        model.eval()
        if chat.think:  # label probabilities behind a row's own reasoning would flatter the model
            with adapter.mixed_precision(model, chosen):
                return {"loss": objective.mean(dev_inputs.items)}
        log_probs = score(packed, chat, dev_inputs.prompts.ids, chosen)
        if measure:
            return measure(dev, log_probs)
        return dev_metrics.of(spec.kind, dev_inputs.codes, log_probs, dimensions)

    records = []
    for phase, rows in zip(phases, inputs, strict=True):
        if phase.entry:
            log.info("stage %d: %s", phase.number, phase.description)
        training = job.Job(
            model=trained,
            items=rows.items,
            lengths=[len(ids) + len(answer) - 1 for ids, answer, _ in rows.items],
            micro_batches=MicroBatches(objective.split, spec.training.packed_tokens, "tokens"),
            loss=objective.loss,
            evaluate=evaluate,
            chosen=chosen,
            together=(
                phase.rows[kinds.of(spec.kind).TEXTS[0]].to_list() if spec.training.get("keep_together") else None
            ),
            tokens_of=objective.tokens,
            precision=lambda: adapter.mixed_precision(model, chosen),
        )
        records.append(job.run(training, phase.spec, phase.folder(scratch)))
    if full:
        trained.save_pretrained(out)
        tokens.tokenizer_of(base).save_pretrained(out)
    else:
        adapter.save(trained, out)
    return with_cut(curriculum.merged_record(phases, records), inputs, spec)


@dataclass(frozen=True)
class Inputs:
    """Rows as the training reads them."""

    prompts: prompt.Prompts
    targets: targets.Targets
    codes: np.ndarray  # [rows], the place of each row's answer among the labels
    answer_weight: float  # of an answer's token in the loss

    @property
    def items(self) -> list[Item]:
        """(prompt token ids, target token ids, their weights) of each row."""
        return list(zip(self.prompts.ids, self.targets.ids, self.targets.weights(self.answer_weight), strict=True))


def encode(chat: ChatPrompt, rows: pl.DataFrame, spec: Params) -> Inputs:
    """Prompts, targets and answers of rows that have a target."""
    codes = labels.codes(rows["score" if spec.kind == "scoring" else "label"], spec.labels)
    prompts = prompt.encode(chat, rows)
    weight = spec.training.get("answer_weight", 1.0)
    return Inputs(prompts, targets.encode(chat, rows, codes.tolist(), prompts.ids), codes, weight)


def with_cut(record: Training, inputs: list[Inputs], spec: Params) -> Training:
    """Say in the record how many rows of the last stage were cut."""
    last, limit = inputs[-1], spec.training.max_length
    record = record.with_cut(sum(last.prompts.truncated), len(last.codes), limit)
    if not (cut := sum(last.targets.truncated)):
        return record
    said = (
        f"{cut} of {len(last.codes)} training rows lost the end of their reasoning or reason at training.max_length "
        f"{limit} tokens; no answer is cut."
    )
    return replace(record, resources={**record.resources, "cut_targets": cut}, messages=[*record.messages, said])
