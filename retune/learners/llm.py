"""Learner `llm`: a causal LM answers the task's prompt; its label probabilities are scored, never parsed from text.

Training is supervised fine-tuning of an adapter (or of all weights) on the answer's tokens alone, label and end of
turn; what the rows of a batch share is computed once (retune.packing). With `epochs: 0` the base is scored as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune import (
    adapter,
    dev_metrics,
    generation,
    hardware,
    labels,
    packing,
    prompt,
    ranks,
    tasks,
    tokens,
    training,
    transformer,
)
from retune.answer_loss import AnswerLoss
from retune.answers import read as parse
from retune.history import Training
from retune.label_scoring import label_log_probs
from retune.packing import Packing
from retune.passes import Passes

if TYPE_CHECKING:
    from retune.hardware import Chosen
    from retune.params import Params
    from retune.prompt import ChatPrompt

log = logging.getLogger("retune")

SPARE = 16
"""Tokens that a generated answer may have beyond the longest one that the prompt asks for."""


class Predictor:
    """A model behind its prompt; `predict` gives a row per input row, in its order."""

    def __init__(self, model: Any, chat: ChatPrompt, chosen: Chosen) -> None:
        self.model, self.chat, self.chosen = model, chat, chosen
        self.packing: Packing | None = None

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0 .. prob_K-1, truncated for the rows of `frame`."""
        prompts = prompt.encode(self.chat, frame)
        if self.packing is None:
            self.packing = packed_by(adapter.base_of(self.model), self.chosen, prompts.ids)
        log_probs = score(self.packing, self.chat, prompts.ids, self.chosen, progress=True)
        return labels.predictions(frame["id"], log_probs, self.chat.labels, np.array(prompts.truncated, dtype=bool))

    def generate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, generated (the text that follows the prompt, greedily), generated_label (null: names no label).

        What users of other tools get: no score, only a text to parse (retune.answers).
        """
        prompts = prompt.encode(self.chat, frame)
        model = adapter.base_of(self.model)
        if self.packing is None:
            self.packing = packed_by(model, self.chosen, prompts.ids)
        longest = max(map(len, self.chat.answers)) + 1 + SPARE
        with adapter.mixed_precision(model, self.chosen):
            written = generation.generate(model, prompts.ids, self.chat.end, longest, progress=True)
        texts = [self.chat.plain.decode(ids) for ids in written]
        known = [self.chat.plain.decode(ids) for ids in self.chat.answers]
        codes = [parse(text, known) for text in texts]
        return pl.DataFrame(
            {
                "id": frame["id"],
                "generated": pl.Series(texts, dtype=pl.String),
                "generated_label": pl.Series(
                    [None if code is None else self.chat.labels[code] for code in codes], dtype=pl.String
                ),
            }
        )


def packed_by(model: Any, chosen: Chosen, prompts: list[list[int]]) -> Packing:
    """How the model runs these prompts; proven on some of them."""
    with adapter.mixed_precision(model, chosen):
        return packing.prepare(model, chosen, prompts)


def score(
    packed: Packing, chat: ChatPrompt, prompts: list[list[int]], chosen: Chosen, progress: bool = False
) -> np.ndarray:
    """Log-probabilities of the labels, float64 (prompts, labels), in the order of `chat.labels`."""
    with adapter.mixed_precision(packed.model, chosen):
        return label_log_probs(packed, prompts, chat.answers, chat.end, progress=progress, per_token=chat.per_token)


@ranks.in_parallel
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
    train = training.choose_rows(train, spec.training.max_rows, spec.seed)
    dev = training.choose_rows(dev, spec.training.dev_rows, spec.seed)
    prompts, dev_prompts = prompt.encode(chat, train), prompt.encode(chat, dev)
    codes, dev_codes = (labels.codes(frame["label"], spec.labels) for frame in (train, dev))
    model = adapter.load_base(base, spec, chosen)
    full = spec.lora.method == "full"
    tuned = spec.training.epochs > 0
    trained: Any = adapter.add(model, spec.lora, spec.base_name, spec.seed, chosen) if tuned and not full else model
    packed = packed_by(model, chosen, (prompts if tuned else dev_prompts).ids)

    def evaluate(_model: Any) -> dict[str, float]:
        model.eval()
        log_probs = score(packed, chat, dev_prompts.ids, chosen)
        return measure(dev, log_probs) if measure else dev_metrics.of(spec.kind, dev_codes, log_probs)

    cut = sum(prompts.truncated), len(train), spec.training.max_length
    if not tuned:
        return transformer.with_cut(
            training.untuned(
                model,
                chosen,
                evaluate(model),
                seconds=time.monotonic() - start,
                fitted=0,
                message="The base is untuned (training.epochs is 0): its answers are scored zero-shot.",
            ),
            *cut,
        )

    objective = AnswerLoss(packed)
    answers = [[*chat.answers[code], chat.end] for code in codes]
    record = training.run(
        trained,
        list(zip(prompts.ids, answers, strict=True)),
        Passes(objective.cut, spec.training.packed_tokens, "tokens"),
        spec,
        scratch,
        evaluate,
        chosen=chosen,
        lengths=[len(ids) for ids in prompts.ids],
        loss_fn=objective.loss,
        tokens_of=objective.tokens,
        precision=lambda: adapter.mixed_precision(model, chosen),
    )
    if full:
        trained.save_pretrained(out)
        tokens.tokenizer_of(base).save_pretrained(out)
    else:
        adapter.save(trained, out)
    return transformer.with_cut(record, *cut)


def load(model_dir: Path, base: Path, hardware_options: Params) -> Predictor:
    """Read what `fit` wrote and the stage's spec.json; the adapter goes on the base, in the bits of its training."""
    from retune import params

    spec = params.load(model_dir / "spec.json")
    chosen = hardware.choose(hardware_options, trees=True)
    hardware.make_deterministic(spec.seed)
    tuned = spec.training.epochs > 0
    full = tuned and spec.lora.method == "full"
    model: Any = adapter.load_base(model_dir if full else base, spec, chosen)
    if tuned and not full:
        model = adapter.attach(model, model_dir, chosen)
    return Predictor(model.eval(), prepare(spec, base), chosen)


def prepare(spec: Params, base: Path) -> ChatPrompt:
    """The task's prompt for this base, its answers in the order of the task's labels."""
    texts, options = tasks.of(spec.kind).TEXTS, spec.training
    tokenizer = tokens.tokenizer_of(base)
    return prompt.prepare(tokenizer, spec.prompt, texts, spec.labels, options.max_length, options.truncation)
