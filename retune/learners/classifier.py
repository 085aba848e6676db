"""Learner `encoder`: a transformer over the text, or over both texts of a pair, which then attend to each other.

A linear layer over one pooled vector gives a logit for each label. The vector is the checkpoint's own pooler over the
first token if it brings a pretrained one (BERT, MacBERT); else it is the mean over the tokens, since a new pooler would
have to be learned from nothing. On pairs, from a sentence encoder and a few thousand rows, this learner tends to
collapse to one class, which is then said: the learner `embedder` is the choice there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from retune import params, progress
from retune.data import kinds, labels
from retune.encoders import linear_probe, tokens, transformer
from retune.encoders.fast_dropout import Dropout
from retune.encoders.objective import objective
from retune.encoders.tokens import Encoded
from retune.errors import RetuneError
from retune.evaluation import dev_metrics
from retune.training import hardware, job, micro_batches, out_of_memory
from retune.training.distributed import launch
from retune.training.record import Training

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from retune.params import Params
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")

Item = tuple[Encoded, int]

PREDICT_BATCH = 64  # pairs per forward pass where there is no gradient
HEAD_RATE = {"random": 10.0, "probe": 1.0}  # learning rate of the new linear layer over that of the pretrained ones


class Classifier(nn.Module):
    """An encoder, its pooling (`pooler`, `mean`) and a linear layer to the labels."""

    def __init__(self, encoder: PreTrainedModel, pooling: str, classes: int) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        config = encoder.config
        own: Any = getattr(config, "classifier_dropout", None)
        self.dropout = Dropout(own or getattr(config, "hidden_dropout_prob", 0.1))
        self.classifier = nn.Linear(config.hidden_size, classes)
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)
        self.limit = out_of_memory.Limit(PREDICT_BATCH, "rows", "prediction")

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Class logits [rows, classes] in float32 of padded token ids [rows, tokens]."""
        logits: torch.Tensor = self.classifier(self.dropout(self.pooled(**inputs)))
        return logits.float()

    def pooled(self, **inputs: torch.Tensor) -> torch.Tensor:
        """The vector of each row [rows, width], which the linear layer reads."""
        output = self.encoder(**inputs)
        if self.pooling == "pooler":
            pooled: torch.Tensor = output.pooler_output
            return pooled
        return transformer.pool(output.last_hidden_state.float(), inputs["attention_mask"], self.pooling)


class Predictor:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, model: Classifier, tokenizer: PreTrainedTokenizerBase, spec: Params, chosen: Chosen) -> None:
        self.model, self.tokenizer, self.spec, self.chosen = model, tokenizer, spec, chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0 .. prob_K-1, truncated for the rows of `frame`."""
        rows = encode(self.tokenizer, frame, self.spec)
        log_probs = score(self.model, rows, int(self.tokenizer.pad_token_id), self.chosen, "predict")
        cut = np.array([row.truncated for row in rows], dtype=bool)
        return labels.predictions(frame["id"], log_probs, self.spec.labels, cut)


def encode(tokenizer: PreTrainedTokenizerBase, frame: pl.DataFrame, spec: Params) -> list[Encoded]:
    """The text of every row, or both texts as one input."""
    texts, options = [frame[column].to_list() for column in kinds.of(spec.kind).TEXTS], spec.training
    return tokens.encode(
        tokenizer, texts[0], texts[1] if len(texts) > 1 else None, options.max_length, options.truncation
    )


def score(model: Classifier, rows: list[Encoded], pad_id: int, chosen: Chosen, desc: str | None = None) -> np.ndarray:
    """Log-probabilities of the labels, [rows, labels] of float64; rows of similar length share a batch."""
    logits = _read(model, model.forward, model.classifier.out_features, rows, pad_id, chosen, desc)
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def _read(
    model: Classifier,
    output: Callable[..., torch.Tensor],
    width: int,
    rows: list[Encoded],
    pad_id: int,
    chosen: Chosen,
    desc: str | None,
) -> np.ndarray:
    """What `output`, a function of the model, gives for every row: float64 [rows, width]; nothing is learned."""
    found = np.zeros((len(rows), width))

    def run(numbers: Sequence[int]) -> np.ndarray:
        batch = tokens.pad([rows[number] for number in numbers], pad_id)
        part = output(**{name: value.to(chosen.device) for name, value in batch.items()})
        return np.asarray(part.double().cpu().numpy())

    training_mode = model.training
    model.eval()
    bar = progress.bar(total=len(rows), desc=desc or "", unit="row", disable=desc is None)
    with torch.inference_mode(), hardware.autocast(chosen), bar:
        for numbers, part in out_of_memory.in_batches(tokens.longest_first(rows), model.limit, run):
            found[numbers] = part
            bar.update(len(numbers))
    model.train(training_mode)
    return found


def _probe(
    model: Classifier, sides: list[tuple[list[Encoded], np.ndarray]], balanced: bool, pad_id: int, chosen: Chosen
) -> bool:
    """Give the linear layer the weights of a logistic regression; `sides` are rows and labels of train and dev.

    False where it cannot be fitted, and the weights stay random.
    """
    if len(np.unique(sides[0][1])) < 2:
        log.info("head random: all training rows have one label, of which a probe learns nothing")
        return False
    width, classes = model.classifier.in_features, model.classifier.out_features
    model.to(chosen.device)
    features = [_read(model, model.pooled, width, rows, pad_id, chosen, "probe") for rows, _ in sides]
    weight, bias, penalty = linear_probe.fit(features[0], sides[0][1], features[1], sides[1][1], classes, balanced)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(weight))
        model.classifier.bias.copy_(torch.from_numpy(bias))
    log.info("head probe: logistic regression on %d frozen vectors, C %g by dev log loss", len(features[0]), penalty)
    return True


@launch.in_parallel
def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Train the encoder and a new linear layer, write the best checkpoint on dev to `out`.

    Raises `RetuneError` for `epochs: 0`: a layer that was never trained predicts nothing.
    """
    options = spec.training
    if options.epochs == 0:
        raise RetuneError(
            f"training.epochs is 0 for task {spec.task}, but the learner `encoder` has a new layer to train: use the "
            "learner `embedder` (pair) or `llm` for an untuned model, or more epochs"
        )
    chosen = hardware.choose(spec.hardware)
    hardware.make_deterministic(spec.seed)
    tokenizer = tokens.tokenizer_of(base)
    train = job.choose_rows(train, options.max_rows, spec.seed)
    dev = job.choose_rows(dev, options.dev_rows, spec.seed)
    rows, dev_rows = (encode(tokenizer, frame, spec) for frame in (train, dev))
    codes, dev_codes = (labels.codes(frame["label"], spec.labels) for frame in (train, dev))
    pad_id = int(tokenizer.pad_token_id)

    pooling = "pooler" if transformer.has_pooler(base) else "mean"
    log.info("pooling %s: %s", pooling, "the base brings it" if pooling == "pooler" else "the base has no pooler")
    model = Classifier(transformer.load(base, chosen, pooler=pooling == "pooler"), pooling, len(spec.labels))
    transformer.freeze(model.encoder, options)
    head = options.head
    if head == "probe":
        sides = [(rows, codes), (dev_rows, dev_codes)]
        if not _probe(model, sides, spec.loss.class_weights == "balanced", pad_id, chosen):
            head = "random"
    loss = objective(spec.loss, codes.tolist(), len(spec.labels), model.encoder.get_input_embeddings(), chosen.device)

    def collate(items: list[Item], batch: list[Item]) -> dict[str, torch.Tensor]:
        inputs = tokens.pad([item[0] for item in items], pad_id)
        codes, whole = (torch.tensor([item[1] for item in some]) for some in (items, batch))
        return {**inputs, "labels": codes, "whole": whole}

    def loss_fn(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = {name: value for name, value in batch.items() if name not in ("labels", "whole")}
        return loss(lambda: model(**inputs), batch["labels"], batch["whole"])

    def evaluate(model: Classifier) -> dict[str, float]:
        return dev_metrics.of(spec.kind, dev_codes, score(model, dev_rows, pad_id, chosen))

    record = job.run(
        model,
        list(zip(rows, codes.tolist(), strict=True)),
        micro_batches.by_rows(collate, options.batch_size),
        spec,
        scratch,
        evaluate,
        chosen=chosen,
        lengths=[len(row.ids) for row in rows],
        loss_fn=loss_fn,
        rate_factors=dict.fromkeys(("classifier.weight", "classifier.bias"), HEAD_RATE[head]),
    )
    transformer.save(model.encoder, out)
    tokenizer.save_pretrained(out)
    layer = {name: weight.detach().cpu().contiguous() for name, weight in model.classifier.state_dict().items()}
    save_file(layer, out / "head.safetensors")
    (out / "encoder.json").write_text(json.dumps({"pooling": pooling}) + "\n", encoding="utf-8")
    return record.with_cut(sum(row.truncated for row in rows), len(rows), options.max_length)


def load(model_dir: Path, base: Path, hardware_options: Params) -> Predictor:
    """Read what `fit` wrote and the stage's spec.json; the base is not needed."""
    spec = params.load(model_dir / "spec.json")
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    pooling = json.loads((model_dir / "encoder.json").read_text(encoding="utf-8"))["pooling"]
    model = Classifier(transformer.load(model_dir, chosen, pooler=pooling == "pooler"), pooling, len(spec.labels))
    model.classifier.load_state_dict(load_file(model_dir / "head.safetensors"))
    model.to(chosen.device).eval()
    return Predictor(model, tokens.tokenizer_of(model_dir), spec, chosen)
