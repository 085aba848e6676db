"""Learner `llm`: a causal LM answers the task's prompt; its label probabilities are scored, never parsed from text.

Training is supervised fine-tuning of an adapter (or of all weights) on the target's tokens alone
(retune.llm.prompt.targets): reasoning where the model thinks, answer, reason, end of turn. What the rows of a batch
share is computed once (retune.llm.packing.packing). A curriculum trains in stages (retune.training.curriculum). With
`epochs: 0` nothing is fitted, and the base is scored as it is.

On dev, a model that answers at once is measured by its label probabilities. One that thinks is measured by `loss`, the
mean negative log-likelihood of the targets' tokens, weighted as in training.
"""

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
from retune.llm import adapter
from retune.llm.predictor import Predictor, packed_by, score
from retune.llm.prompt import prompt, targets
from retune.llm.sft_loss import AnswerLoss, Item
from retune.training import curriculum, hardware, job
from retune.training.distributed import fsdp, launch
from retune.training.micro_batches import Passes
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
    measure: Callable[[pl.DataFrame, np.ndarray], dict[str, float]] | None = None,
) -> Training:
    """Train on the answers of `train`, keep the best checkpoint on `dev`, write adapter or weights to `out`.

    `measure` gives dev metrics of dev rows and their log-probabilities [rows, labels]; default: those of the kind.
    """
    start = time.monotonic()
    chosen = hardware.choose(spec.hardware, trees=True)
    hardware.make_deterministic(spec.seed)
    chat = prepare(spec, base)
    stages = curriculum.stages(spec, train)
    inputs = [encode(chat, stage.rows, spec) for stage in stages]
    if spec.training.epochs == 0:
        message = "The base is untuned (training.epochs is 0): its answers are scored zero-shot, nothing is fitted."
        resources = {"seconds": round(time.monotonic() - start, 1), "parameters_trained": 0}
        return with_cut(Training([], resources, [message]), inputs, spec)
    dev = job.choose_rows(curriculum.trained_on(spec, dev), spec.training.dev_rows, spec.seed)
    dev_inputs = encode(chat, dev, spec)
    divided = fsdp.wanted(spec.hardware, chosen)
    model = adapter.load_base(base, spec, chosen, divided)
    full = spec.lora.method == "full"
    trained: Any = model
    if not full:
        frozen = spec.training.freeze_layers
        trained = adapter.add(model, spec.lora, spec.base_name, spec.seed, chosen, freeze_layers=frozen)
    if divided:
        fsdp.divide(model, spec.hardware, chosen, adapter.mixed_precision(model, chosen))
    packed = packed_by(model, chosen, inputs[0].prompts.ids)
    packed.limit.fixed = fsdp.in_step(model)
    objective = AnswerLoss(packed)

    def evaluate(_model: Any) -> dict[str, float]:
        model.eval()
        if chat.think:  # label probabilities behind a row's own reasoning would flatter the model
            with adapter.mixed_precision(model, chosen):
                return {"loss": objective.mean(dev_inputs.items)}
        log_probs = score(packed, chat, dev_inputs.prompts.ids, chosen)
        return measure(dev, log_probs) if measure else dev_metrics.of(spec.kind, dev_inputs.codes, log_probs)

    records = []
    for stage, rows in zip(stages, inputs, strict=True):
        if stage.entry:
            log.info("stage %d: %s", stage.number, stage.said)
        records.append(
            job.run(
                trained,
                rows.items,
                Passes(objective.cut, spec.training.packed_tokens, "tokens"),
                stage.spec,
                stage.folder(scratch),
                evaluate,
                chosen=chosen,
                lengths=[len(ids) + len(answer) - 1 for ids, answer, _ in rows.items],
                together=stage.rows[kinds.of(spec.kind).TEXTS[0]] if spec.training.get("keep_together") else None,
                loss_fn=objective.loss,
                tokens_of=objective.tokens,
                precision=lambda: adapter.mixed_precision(model, chosen),
            )
        )
    if full:
        trained.save_pretrained(out)
        tokens.tokenizer_of(base).save_pretrained(out)
    else:
        adapter.save(trained, out)
    return with_cut(curriculum.together(stages, records), inputs, spec)


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
    if not (cut := sum(last.targets.cut)):
        return record
    said = (
        f"{cut} of {len(last.codes)} training rows lost the end of their reasoning or reason at training.max_length "
        f"{limit} tokens; no answer is cut."
    )
    return replace(record, resources={**record.resources, "cut_targets": cut}, messages=[*record.messages, said])


def load(model_dir: Path, base: Path, hardware_options: Params, options: Params | None = None) -> Predictor:
    """Read what `fit` wrote and the stage's spec.json; the adapter goes on the base, in the bits of its training.

    `options` is the model's section `generation`; without one nothing is generated.
    """
    from retune import params

    spec = params.load(model_dir / "spec.json")
    chosen = hardware.choose(hardware_options, trees=True)
    hardware.make_deterministic(spec.seed)
    tuned = spec.training.epochs > 0
    full = tuned and spec.lora.method == "full"
    divided = fsdp.wanted(hardware_options, chosen)
    model: Any = adapter.load_base(model_dir if full else base, spec, chosen, divided)
    if tuned and not full:
        model = adapter.attach(model, model_dir, chosen)
    if divided:
        whole = adapter.base_of(model)
        fsdp.divide(whole, hardware_options, chosen, adapter.mixed_precision(whole, chosen))
    return Predictor(model.eval(), prepare(spec, base), chosen, spec, options)


def prepare(spec: Params, base: Path) -> ChatPrompt:
    """The task's prompt for this base, its answers in the order of the task's labels."""
    texts, options = kinds.of(spec.kind).TEXTS, spec.training
    tokenizer = tokens.tokenizer_of(base)
    return prompt.prepare(
        tokenizer,
        spec.prompt,
        texts,
        spec.labels,
        options.max_length,
        options.truncation,
        options.get("thinking", False),
    )
