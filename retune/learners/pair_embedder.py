"""Learner `embedder`: a bi-encoder; two texts mean the same as far as the cosine of their embeddings is high.

Log-odds of label 1 = scale * cosine + bias. Scale and bias start from a logistic regression on the cosines of the
untuned base, so that training begins where the checkpoint already is; with `epochs: 0` that is the whole model.

The loop is retune.training.job, not sentence-transformers' trainer: its losses for labelled pairs fix the scale and
have no bias, and ours gives class weights, focal loss, R-Drop, adversaries and bit-exact resume to every learner alike.
Both texts of a pair pass the encoder in one batch. The folder opens with `SentenceTransformer(folder)` all the same.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from retune import progress
from retune.data.kinds.pair import LABELS
from retune.data.labels import predictions
from retune.encoders import tokens, transformer
from retune.encoders.objective import objective
from retune.encoders.tokens import Encoded
from retune.evaluation import dev_metrics
from retune.training import hardware, job, micro_batches, out_of_memory
from retune.training.distributed import launch
from retune.training.record import Training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.params import Params
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")

Item = tuple[Encoded, Encoded, int]

START_ROWS = 1000  # training rows whose cosines give the first scale and bias
EMBED_BATCH = 128  # texts per forward pass where there is no gradient
HEAD_RATE = 100.0  # learning rate of scale and bias over that of the encoder: two numbers far larger than any weight


class PairEmbedder(nn.Module):
    """An encoder, its pooling, and the scale and bias that make a cosine a log-odds."""

    def __init__(self, encoder: nn.Module, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))
        self.limit = out_of_memory.Limit(EMBED_BATCH, "texts", "prediction")

    def embed(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Unit vectors [texts, width] in float32 of padded token ids [texts, tokens]."""
        states = self.encoder(**inputs).last_hidden_state.float()
        return F.normalize(transformer.pool(states, inputs["attention_mask"], self.pooling), dim=-1)

    def log_odds(self, cosines: np.ndarray) -> np.ndarray:
        """Log-odds of label 1 of cosines [rows], in float64."""
        return self.scale.item() * cosines + self.bias.item()

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Class logits [pairs, 2] (-z/2, z/2) of 2 * pairs texts: all first texts, then all second ones."""
        first, second = self.embed(**inputs).chunk(2)
        return classes(self.scale * (first * second).sum(-1) + self.bias)


def classes(log_odds: torch.Tensor) -> torch.Tensor:
    """Two logits whose softmax is the sigmoid of the log-odds."""
    return torch.stack([-log_odds / 2, log_odds / 2], dim=-1)


class Predictor:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(
        self, model: PairEmbedder, tokenizer: PreTrainedTokenizerBase, prefix: str, max_length: int, chosen: Chosen
    ) -> None:
        self.model, self.tokenizer, self.prefix, self.max_length = model, tokenizer, prefix, max_length
        self.chosen = chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0, prob_1, truncated for the pairs of `frame`; a text is embedded once."""
        texts = Texts(self.tokenizer, self.prefix, frame, self.max_length)
        cosines = texts.cosines(self.model, self.chosen, "predict")
        log_odds = self.model.log_odds(cosines)
        log_probs = np.stack([-np.logaddexp(0.0, log_odds), -np.logaddexp(0.0, -log_odds)], axis=1)
        return predictions(frame["id"], log_probs, LABELS, texts.truncated())


class Texts:
    """The distinct texts of a table of pairs, encoded, and where each row finds its two."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prefix: str, frame: pl.DataFrame, max_length: int) -> None:
        place: dict[str, int] = {}
        self.first, self.second = (
            np.array([place.setdefault(text, len(place)) for text in frame[column]], dtype=np.int64)
            for column in ("text_a", "text_b")
        )
        self.encoded = tokens.encode(tokenizer, [prefix + text for text in place], None, max_length)
        self.pad_id = int(tokenizer.pad_token_id)

    def pairs(self) -> list[tuple[Encoded, Encoded]]:
        """Both encoded texts of every row."""
        return [(self.encoded[a], self.encoded[b]) for a, b in zip(self.first, self.second, strict=True)]

    def truncated(self) -> np.ndarray:
        """Whether a text of the row was cut, [rows] of bool."""
        cut = np.array([text.truncated for text in self.encoded], dtype=bool)
        return cut[self.first] | cut[self.second]

    def cosines(self, model: PairEmbedder, chosen: Chosen, desc: str | None = None) -> np.ndarray:
        """Cosine of the two texts of every row, [rows] of float64."""
        vectors: dict[int, torch.Tensor] = {}

        def run(numbers: Sequence[int]) -> torch.Tensor:
            batch = tokens.pad([self.encoded[number] for number in numbers], self.pad_id)
            return model.embed(**{name: value.to(chosen.device) for name, value in batch.items()}).cpu()

        training_mode = model.training
        model.eval()
        with (
            torch.inference_mode(),
            hardware.autocast(chosen),
            progress.bar(total=len(self.encoded), desc=desc or "", unit="text", disable=desc is None) as done,
        ):
            for numbers, embedded in out_of_memory.in_batches(tokens.longest_first(self.encoded), model.limit, run):
                vectors.update(zip(numbers, embedded, strict=True))
                done.update(len(numbers))
        model.train(training_mode)
        if not vectors:
            return np.zeros(0)
        table = torch.stack([vectors[row] for row in range(len(vectors))]).double()
        cosines: np.ndarray = (table[self.first] * table[self.second]).sum(-1).numpy()
        return cosines


@launch.in_parallel
def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Fit scale and bias on the base's cosines, train the encoder, write the best checkpoint on dev to `out`."""
    start = time.monotonic()
    options = spec.training
    chosen = hardware.choose(spec.hardware)
    hardware.make_deterministic(spec.seed)
    source = tokens.source_of(base)
    tokenizer = tokens.tokenizer_of(base)
    train = job.choose_rows(train, options.max_rows, spec.seed)
    dev = job.choose_rows(dev, options.dev_rows, spec.seed)
    rows, dev_rows = (Texts(tokenizer, source["query_prefix"], frame, options.max_length) for frame in (train, dev))
    labels, dev_labels = train["label"].to_list(), dev["label"].to_numpy()

    model = PairEmbedder(transformer.load(base, chosen), source["pooling"])
    transformer.freeze(model.encoder, options)
    model.to(chosen.device)
    first = job.choose_rows(train, START_ROWS, spec.seed)
    cosines = Texts(tokenizer, source["query_prefix"], first, options.max_length).cosines(model, chosen)
    scale, bias = logistic(cosines, first["label"].to_numpy(), spec.loss.class_weights == "balanced")
    with torch.no_grad():
        model.scale.fill_(scale)
        model.bias.fill_(bias)
    log.info("start: log-odds = %.2f * cosine %+.2f, from %d untuned cosines", scale, bias, len(first))

    def collate(items: list[Item], batch: list[Item]) -> dict[str, torch.Tensor]:
        inputs = tokens.pad([item[0] for item in items] + [item[1] for item in items], rows.pad_id)
        labels, whole = (torch.tensor([item[2] for item in some]) for some in (items, batch))
        return {**inputs, "labels": labels, "whole": whole}

    def evaluate(model: PairEmbedder) -> dict[str, float]:
        return dev_metrics.pair(dev_labels, model.log_odds(dev_rows.cosines(model, chosen)))

    if options.epochs == 0:
        record = job.untuned(
            model,
            chosen,
            evaluate(model),
            seconds=time.monotonic() - start,
            fitted=2,
            message="The encoder is untuned (training.epochs is 0); only scale and bias are fitted.",
        )
    else:
        loss = objective(spec.loss, labels, 2, model.encoder.get_input_embeddings(), chosen.device)

        def loss_fn(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            inputs = {name: value for name, value in batch.items() if name not in ("labels", "whole")}
            return loss(lambda: model(**inputs), batch["labels"], batch["whole"])

        items = [(a, b, label) for (a, b), label in zip(rows.pairs(), labels, strict=True)]
        record = job.run(
            model,
            items,
            micro_batches.by_rows(collate, options.batch_size),
            spec,
            scratch,
            evaluate,
            chosen=chosen,
            lengths=[max(len(a.ids), len(b.ids)) for a, b, _ in items],
            loss_fn=loss_fn,
            rate_factors={"scale": HEAD_RATE, "bias": HEAD_RATE},
        )
    save(model, tokenizer, source, options.max_length, out)
    return record.with_cut(int(rows.truncated().sum()), len(train), options.max_length)


def logistic(cosines: np.ndarray, labels: np.ndarray, balanced: bool) -> tuple[float, float]:
    """Scale and bias of the logistic regression of labels on cosines, by Newton's method in float64.

    A weak prior (scale around 0, as one row would weigh) keeps separable data finite; the scale stays at least 1, so
    that a higher cosine never speaks against label 1.
    """
    x = (cosines - cosines.mean()) / (cosines.std() + 1e-9)
    y = labels.astype(np.float64)
    positives = y.sum()
    weights = np.ones_like(y)
    if balanced and 0 < positives < len(y):
        weights = np.where(y == 1, len(y) / (2 * positives), len(y) / (2 * (len(y) - positives)))
    design = np.stack([x, np.ones_like(x)], axis=1)
    theta, prior = np.zeros(2), np.diag([1.0, 0.01])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -30, 30)))
        gradient = design.T @ (weights * (y - p)) - prior @ theta
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + prior
        step = np.linalg.solve(hessian, gradient)
        theta = theta + step
        if np.abs(step).max() < 1e-10:
            break
    scale = max(1.0, float(theta[0] / (cosines.std() + 1e-9)))
    return scale, float(theta[1] - scale * cosines.mean())


def save(
    model: PairEmbedder, tokenizer: PreTrainedTokenizerBase, source: dict[str, Any], max_length: int, out: Path
) -> None:
    """Write encoder, tokenizer, scale and bias, and the files by which sentence-transformers knows the folder."""
    transformer.save(model.encoder, out)
    tokenizer.save_pretrained(out)
    save_file({"scale": model.scale.detach().cpu(), "bias": model.bias.detach().cpu()}, out / "head.safetensors")
    prefix = source["query_prefix"]
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": prefix} if prefix else {},
            "default_prompt_name": "query" if prefix else None,
            "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": model.encoder.config.hidden_size,
            "pooling_mode_cls_token": source["pooling"] == "cls",
            "pooling_mode_mean_tokens": source["pooling"] == "mean",
        },
        "2_Normalize/config.json": {},
        "embedder.json": {"pooling": source["pooling"], "query_prefix": prefix, "max_length": max_length},
    }
    for name, content in files.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load(model_dir: Path, base: Path, hardware_options: Params) -> Predictor:
    """Read what `fit` wrote; the base is not needed."""
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    options = json.loads((model_dir / "embedder.json").read_text(encoding="utf-8"))
    model = PairEmbedder(transformer.load(model_dir, chosen), options["pooling"])
    model.load_state_dict(load_file(model_dir / "head.safetensors"), strict=False)
    model.to(chosen.device).eval()
    return Predictor(model, tokens.tokenizer_of(model_dir), options["query_prefix"], options["max_length"], chosen)
