"""Learner `encoder`: a cross-encoder; both texts pass the transformer together and attend to each other.

A linear layer over one pooled vector gives the two logits. The vector is the checkpoint's own pooler over the first
token if it brings a pretrained one (BERT, MacBERT); else it is the mean over the tokens, since a new pooler would have
to be learned from nothing. From a sentence encoder and a few thousand rows this learner tends to collapse to one class,
which is then said: the learner `embedder` is the choice there.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from retune import dev_metrics, hardware, progress, tokens, training, transformer
from retune.errors import RetuneError
from retune.history import Training
from retune.objective import objective
from retune.tokens import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from retune.hardware import Chosen
    from retune.params import Params

log = logging.getLogger("retune")

PREDICT_BATCH = 64  # pairs per forward pass where there is no gradient
HEAD_RATE = 10.0  # learning rate of the new linear layer over that of the pretrained ones


class CrossEncoder(nn.Module):
    """An encoder, its pooling (`pooler`, `mean`) and a linear layer to two classes."""

    def __init__(self, encoder: PreTrainedModel, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        config = encoder.config
        self.dropout = nn.Dropout(
            getattr(config, "classifier_dropout", None) or getattr(config, "hidden_dropout_prob", 0.1)
        )
        self.classifier = nn.Linear(config.hidden_size, 2)
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Class logits [pairs, 2] in float32 of padded token ids [pairs, tokens]."""
        output = self.encoder(**inputs)
        if self.pooling == "pooler":
            pooled = output.pooler_output
        else:
            pooled = transformer.pool(output.last_hidden_state.float(), inputs["attention_mask"], self.pooling)
        logits: torch.Tensor = self.classifier(self.dropout(pooled))
        return logits.float()


class Predictor:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(
        self, model: CrossEncoder, tokenizer: PreTrainedTokenizerBase, max_length: int, chosen: Chosen
    ) -> None:
        self.model, self.tokenizer, self.max_length, self.chosen = model, tokenizer, max_length, chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0, prob_1, truncated for the pairs of `frame`."""
        rows = encode(self.tokenizer, frame, self.max_length)
        log_odds = score(self.model, rows, int(self.tokenizer.pad_token_id), self.chosen, "predict")
        return transformer.predictions(frame["id"], log_odds, np.array([row.truncated for row in rows], dtype=bool))


def encode(tokenizer: PreTrainedTokenizerBase, frame: pl.DataFrame, max_length: int) -> list[Encoded]:
    """Both texts of every row as one input."""
    return tokens.encode(tokenizer, frame["text_a"].to_list(), frame["text_b"].to_list(), max_length)


def score(model: CrossEncoder, rows: list[Encoded], pad_id: int, chosen: Chosen, desc: str | None = None) -> np.ndarray:
    """Log-odds of label 1, [rows] of float64; rows of similar length share a batch."""
    log_odds = np.zeros(len(rows))
    batches = tokens.by_length(rows, PREDICT_BATCH)
    training_mode = model.training
    model.eval()
    with torch.inference_mode(), hardware.autocast(chosen):
        for numbers in progress.bar(batches, desc=desc, unit="batch") if desc else batches:
            batch = tokens.pad([rows[number] for number in numbers], pad_id)
            logits = model(**{name: value.to(chosen.device) for name, value in batch.items()})
            log_odds[numbers] = (logits[:, 1] - logits[:, 0]).double().cpu().numpy()
    model.train(training_mode)
    return log_odds


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Train the encoder and a new linear layer, write the best checkpoint on dev to `out`.

    Raises `RetuneError` for `epochs: 0`: a layer that was never trained predicts nothing.
    """
    options = spec.training
    if options.epochs == 0:
        raise RetuneError(
            f"training.epochs is 0 for task {spec.task}, but the learner `encoder` has a new layer to train: use the "
            "learner `embedder` for an untuned model, or more epochs"
        )
    chosen = hardware.choose(spec.hardware)
    hardware.make_deterministic(spec.seed)
    tokenizer = tokens.tokenizer_of(base)
    train = training.choose_rows(train, options.max_rows, spec.seed)
    dev = training.choose_rows(dev, options.dev_rows, spec.seed)
    rows, dev_rows = (encode(tokenizer, frame, options.max_length) for frame in (train, dev))
    labels, dev_labels = train["label"].to_list(), dev["label"].to_numpy()
    pad_id = int(tokenizer.pad_token_id)

    pooling = "pooler" if transformer.has_pooler(base) else "mean"
    log.info("pooling %s: %s", pooling, "the base brings it" if pooling == "pooler" else "the base has no pooler")
    model = CrossEncoder(transformer.load(base, chosen, pooler=pooling == "pooler"), pooling)
    if options.freeze_embeddings:
        transformer.freeze_embeddings(model.encoder)
    loss = objective(spec.loss, labels, model.encoder.get_input_embeddings(), chosen.device)

    def collate(items: list[tuple[Encoded, int]]) -> dict[str, torch.Tensor]:
        batch = tokens.pad([item[0] for item in items], pad_id)
        return {**batch, "labels": torch.tensor([item[1] for item in items])}

    def loss_fn(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return loss(lambda: model(**inputs), batch["labels"])

    def evaluate(model: CrossEncoder) -> dict[str, float]:
        return dev_metrics.pair(dev_labels, score(model, dev_rows, pad_id, chosen))

    record = training.run(
        model,
        list(zip(rows, labels, strict=True)),
        collate,
        spec,
        scratch,
        evaluate,
        chosen=chosen,
        lengths=[len(row.ids) for row in rows],
        loss_fn=loss_fn,
        rate_factors={"classifier.weight": HEAD_RATE, "classifier.bias": HEAD_RATE},
    )
    transformer.save(model.encoder, out)
    tokenizer.save_pretrained(out)
    head = {name: weight.detach().cpu().contiguous() for name, weight in model.classifier.state_dict().items()}
    save_file(head, out / "head.safetensors")
    settings = {"pooling": pooling, "max_length": options.max_length}
    (out / "encoder.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return transformer.with_cut(record, sum(row.truncated for row in rows), len(rows), options.max_length)


def load(model_dir: Path, base: Path, hardware_options: Params) -> Predictor:
    """Read what `fit` wrote; the base is not needed."""
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    settings = json.loads((model_dir / "encoder.json").read_text(encoding="utf-8"))
    pooling = settings["pooling"]
    model = CrossEncoder(transformer.load(model_dir, chosen, pooler=pooling == "pooler"), pooling)
    model.classifier.load_state_dict(load_file(model_dir / "head.safetensors"))
    model.to(chosen.device).eval()
    return Predictor(model, tokens.tokenizer_of(model_dir), settings["max_length"], chosen)
