"""Learner `llm`: a causal LM answers the task's prompt; its label probabilities are scored, never parsed from text.

Training is supervised fine-tuning of an adapter (or of all weights) on the answer's tokens alone, label and end of
turn; what the rows of a batch share is computed once (retune.packing). With `epochs: 0` the base is scored as it is.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune import adapter, dev_metrics, hardware, packing, prompt, tokens, training, transformer
from retune.answer_loss import AnswerLoss
from retune.errors import RetuneError
from retune.history import Training
from retune.label_scoring import label_log_probs
from retune.packing import Packing
from retune.tasks import pair

if TYPE_CHECKING:
    from retune.hardware import Chosen
    from retune.params import Params
    from retune.prompt import ChatPrompt

log = logging.getLogger("retune")


class Predictor:
    """A model behind its prompt; `predict` gives a row per input row, in its order."""

    def __init__(self, model: Any, chat: ChatPrompt, chosen: Chosen) -> None:
        self.model, self.chat, self.chosen = model, chat, chosen
        self.packing: Packing | None = None

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0, prob_1, truncated for the rows of `frame`."""
        prompts = prompt.encode(self.chat, frame)
        if self.packing is None:
            self.packing = packed_by(adapter.base_of(self.model), self.chosen, prompts.ids)
        log_odds = score(self.packing, self.chat, prompts.ids, self.chosen, progress=True)
        return transformer.predictions(frame["id"], log_odds, np.array(prompts.truncated, dtype=bool))


def packed_by(model: Any, chosen: Chosen, prompts: list[list[int]]) -> Packing:
    """How the model runs these prompts; proven on some of them."""
    with adapter.mixed_precision(model, chosen):
        return packing.prepare(model, chosen, prompts)


def score(
    packed: Packing, chat: ChatPrompt, prompts: list[list[int]], chosen: Chosen, progress: bool = False
) -> np.ndarray:
    """Log-odds of label 1 against label 0, float64 (prompts,)."""
    with adapter.mixed_precision(packed.model, chosen):
        logs = label_log_probs(packed, prompts, chat.answers, chat.end, progress=progress)
    log_odds: np.ndarray = logs[:, chat.labels.index("1")] - logs[:, chat.labels.index("0")]
    return log_odds


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Train on the answers of `train`, keep the best checkpoint on `dev`, write adapter or weights to `out`."""
    start = time.monotonic()
    chosen = hardware.choose(spec.hardware, trees=True)
    hardware.make_deterministic(spec.seed)
    chat = prepare(spec, base)
    train = training.choose_rows(train, spec.training.max_rows, spec.seed)
    dev = training.choose_rows(dev, spec.training.dev_rows, spec.seed)
    prompts, dev_prompts = prompt.encode(chat, train), prompt.encode(chat, dev)
    dev_labels = dev["label"].to_numpy()
    model = adapter.load_base(base, spec, chosen)
    full = spec.lora.method == "full"
    tuned = spec.training.epochs > 0
    trained: Any = adapter.add(model, spec.lora, spec.base_name, spec.seed, chosen) if tuned and not full else model
    packed = packed_by(model, chosen, (prompts if tuned else dev_prompts).ids)

    def evaluate(_model: Any) -> dict[str, float]:
        model.eval()
        return dev_metrics.pair(dev_labels, score(packed, chat, dev_prompts.ids, chosen))

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

    objective = AnswerLoss(packed, spec.training.packed_tokens)
    answers = [[*chat.answers[chat.labels.index(str(label))], chat.end] for label in train["label"]]
    record = training.run(
        trained,
        list(zip(prompts.ids, answers, strict=True)),
        objective.collate,
        spec,
        scratch,
        evaluate,
        chosen=chosen,
        lengths=[len(ids) for ids in prompts.ids],
        loss_fn=objective.loss,
        parts_of=objective.parts,
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
    """The task's prompt for this base; raises `RetuneError` where its answers are not those of kind `pair`."""
    if set(spec.prompt.answers) != set(map(str, pair.LABELS)):
        raise RetuneError(
            f"the prompt of task {spec.task} answers {sorted(spec.prompt.answers)}, kind pair needs an answer for each "
            f"of {list(map(str, pair.LABELS))}"
        )
    return prompt.prepare(tokens.tokenizer_of(base), spec.prompt, pair.TEXTS, spec.training.max_length)
