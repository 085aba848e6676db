"""Learner `encoder` of kind `ranking`: a reranker, which reads query and document in one input and gives one score.

A linear layer over the pooled token states gives the score; RankNet or ListNet (`ranking_loss.reranker`) compares the
documents of a query, which a batch holds together. The folder opens with `CrossEncoder(folder)`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file
from torch import nn

from retune import progress
from retune.data import queries
from retune.encoders import bi_encoder, model_card, ranking_losses, sentence_transformers_folder, tokens, transformer
from retune.encoders.tokens import Encoded
from retune.errors import RetuneError
from retune.evaluation import ranking_dev_metrics
from retune.llm import adapter
from retune.training import hardware, job, micro_batches, out_of_memory
from retune.training.distributed import launch
from retune.training.record import Training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.params import Params
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")

HEAD_RATE = 20.0  # learning rate of the new linear layer over that of the pretrained ones


class Reranker(nn.Module):
    """An encoder, its pooling and a linear layer to the score."""

    def __init__(self, encoder: Any, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.head = nn.Linear(encoder.config.hidden_size, 1)
        nn.init.normal_(self.head.weight, std=encoder.config.initializer_range)
        nn.init.zeros_(self.head.bias)
        self.limit = out_of_memory.Limit(bi_encoder.BATCH_TOKENS, "tokens", "prediction")

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Scores [pairs] in float32 of padded token ids [pairs, tokens]."""
        states = self.encoder(**inputs).last_hidden_state.float()
        scores: torch.Tensor = self.head(transformer.pool(states, inputs["attention_mask"], self.pooling)).squeeze(-1)
        return scores.float()


class Predictor:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, model: Reranker, tokenizer: PreTrainedTokenizerBase, max_length: int, chosen: Chosen) -> None:
        self.model, self.tokenizer, self.max_length, self.chosen = model, tokenizer, max_length, chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score, truncated for the rows of `frame`."""
        rows = encode(self.tokenizer, frame, self.max_length)
        scores = score(self.model, rows, int(self.tokenizer.pad_token_id), self.chosen, "predict")
        return queries.predictions(frame["id"], scores, np.array([row.truncated for row in rows], dtype=bool))


def encode(tokenizer: PreTrainedTokenizerBase, frame: pl.DataFrame, max_length: int) -> list[Encoded]:
    """Query and document of every row as one input."""
    return tokens.encode(tokenizer, frame["query"].to_list(), frame["document"].to_list(), max_length)


def score(model: Reranker, rows: list[Encoded], pad_id: int, chosen: Chosen, desc: str | None = None) -> np.ndarray:
    """The score of every pair, float64 [rows]; rows of similar length share a batch."""
    scores = np.zeros(len(rows))

    def run(numbers: Sequence[int]) -> np.ndarray:
        batch = tokens.pad([rows[number] for number in numbers], pad_id)
        found = model(**{name: value.to(chosen.device) for name, value in batch.items()})
        return np.asarray(found.double().cpu().numpy())

    mode = model.training
    model.eval()
    bar = progress.bar(total=len(rows), desc=desc or "", unit="row", disable=desc is None)
    with torch.inference_mode(), hardware.autocast(chosen), bar:
        for numbers, found in bi_encoder.in_batches(rows, model.limit, run):
            scores[numbers] = found
            bar.update(len(numbers))
    model.train(mode)
    return scores


@launch.in_parallel
def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Train the encoder and a new linear layer on whole queries, write the best checkpoint on dev to `out`.

    Raises `RetuneError` for `epochs: 0`, since a layer that was never trained ranks nothing, and where no query has
    documents of different relevance.
    """
    options, losses = spec.training, spec.ranking_loss
    if options.epochs == 0:
        raise RetuneError(
            f"training.epochs is 0 for task {spec.task}, but the learner `encoder` has a new layer to train: use the "
            "learner `embedder` for an untuned model, or more epochs"
        )
    chosen = hardware.choose(spec.hardware)
    hardware.make_deterministic(spec.seed)
    source, tokenizer = tokens.source_of(base), tokens.tokenizer_of(base)
    train = queries.choose(train, options.max_rows, spec.seed)
    dev = queries.choose(dev, options.dev_rows, spec.seed)
    rows, dev_rows = (encode(tokenizer, frame, options.max_length) for frame in (train, dev))
    pad_id = int(tokenizer.pad_token_id)
    relevance, weights = queries.relevance(train), queries.weights(train)
    items = [numbers for numbers in queries.lists(train) if len(set(relevance[numbers])) > 1]
    if not items:
        raise RetuneError(f"no training query of task {spec.task} has documents of different relevance, so none can "
                          "be ranked above another; add judged documents, or use the learner `embedder`")  # fmt: skip
    per_batch = max(1, round(options.batch_size * len(items) / sum(map(len, items))))
    log.info("%d queries a batch, for training.batch_size %d rows", per_batch, options.batch_size)

    model = Reranker(transformer.load(base, chosen), source["pooling"])
    transformer.freeze(model.encoder, options)
    if spec.lora.method != "full":
        model.encoder = adapter.add(
            model.encoder, spec.lora, spec.base_name, spec.seed, chosen, None, options.freeze_layers
        )

    def judged(lists: list[np.ndarray]) -> dict[str, torch.Tensor]:
        numbers = np.concatenate(lists)
        return {
            "relevance": torch.tensor(relevance[numbers], dtype=torch.float32),
            "weights": torch.tensor(weights[numbers], dtype=torch.float32),
            "queries": torch.tensor(np.repeat(np.arange(len(lists)), [len(part) for part in lists])),
        }

    def collate(lists: list[np.ndarray], batch: list[np.ndarray]) -> dict[str, torch.Tensor]:
        own, whole = judged(lists), judged(batch)
        share = amount(losses, **own) / (amount(losses, **whole) or 1.0)
        padded = tokens.pad([rows[number] for number in np.concatenate(lists)], pad_id)
        return {**padded, **own, "share": torch.tensor(share)}

    def loss_fn(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        given = {name: batch[name] for name in ("relevance", "weights", "queries")}
        scores = model(**{name: value for name, value in batch.items() if name not in given and name != "share"})
        return batch["share"] * loss(scores, losses, **given)

    dev_judged = {
        "relevance": torch.tensor(queries.relevance(dev)),
        "weights": torch.tensor(queries.weights(dev)),
        "queries": torch.tensor(queries.codes(dev)),
    }

    def evaluate(model: Reranker) -> dict[str, float]:
        scores = score(model, dev_rows, pad_id, chosen)
        return ranking_dev_metrics.of(dev, scores, float(loss(torch.tensor(scores), losses, **dev_judged)))

    record = job.run(
        model,
        items,
        micro_batches.by_rows(collate, per_batch),
        bi_encoder.with_batch(spec, per_batch),
        scratch,
        evaluate,
        chosen=chosen,
        lengths=[max(len(rows[number].ids) for number in numbers) for numbers in items],
        loss_fn=loss_fn,
        rate_factors={"head.weight": HEAD_RATE, "head.bias": HEAD_RATE},
    )
    if spec.lora.method != "full":
        model.encoder = model.encoder.merge_and_unload()
    record = record.with_cut(sum(row.truncated for row in rows), len(rows), options.max_length)
    sentence_transformers_folder.reranker(
        model.encoder, tokenizer, source["pooling"], model.head, options.max_length, out
    )
    kept = {"pooling": source["pooling"], "max_length": options.max_length}
    (out / "reranker.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")
    said = f"{len(train):,} judged documents of {len(items):,} queries of the task {spec.task}."
    use = [
        "from sentence_transformers import CrossEncoder",
        'model = CrossEncoder("folder of this card")',
        "scores = model.predict([(query, document), ...])",
    ]
    model_card.write(spec, source, said, record, use, out)
    return record


def loss(
    scores: torch.Tensor, losses: Params, relevance: torch.Tensor, weights: torch.Tensor, queries: torch.Tensor
) -> torch.Tensor:
    """The loss that `ranking_loss.reranker` names, over the documents of each query, all [rows]."""
    if losses.reranker == "ranknet":
        return ranking_losses.ranknet(scores, relevance, weights, queries)
    return ranking_losses.listnet(scores, relevance, weights, queries, losses.list_temperature)


def amount(losses: Params, relevance: torch.Tensor, weights: torch.Tensor, queries: torch.Tensor) -> float:
    """What `loss` divides by: a part of a batch adds its own share of this to the loss of the batch."""
    if losses.reranker == "ranknet":
        return float(ranking_losses.preferences(relevance, weights, queries).sum())
    return float(queries.unique(return_counts=True)[1].gt(1).sum())


def load(model_dir: Path, base: Path, hardware_options: Params) -> Predictor:
    """Read what `fit` wrote; the base is not needed."""
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    options = json.loads((model_dir / "reranker.json").read_text(encoding="utf-8"))
    model = Reranker(transformer.load(model_dir, chosen), options["pooling"])
    weights = load_file(model_dir / "2_Dense/model.safetensors")
    model.head.load_state_dict({name.removeprefix("linear."): weight for name, weight in weights.items()})
    model.to(chosen.device).eval()
    return Predictor(model, tokens.tokenizer_of(model_dir), options["max_length"], chosen)
