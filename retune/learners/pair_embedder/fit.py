"""Train the encoder, from a scale and a bias that are fitted to its cosines."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from retune.data import lessons
from retune.encoders import sentence_transformers_folder, tokens, transformer
from retune.encoders.objective import objective
from retune.encoders.tokens import Encoded
from retune.evaluation import dev_metrics
from retune.learners.pair_embedder.model import PairEmbedder, PairTexts
from retune.learners.pair_embedder.start import logistic
from retune.training import hardware, job, micro_batches, positions
from retune.training.distributed import launch
from retune.training.record import Training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.params import Params

log = logging.getLogger("retune")

Item = tuple[Encoded, Encoded, int, list[float]]

OF_LOSS = ("labels", "whole", "lessons")
"""What of a micro-batch the model does not read."""

START_ROWS = 1000  # training rows whose cosines give the first scale and bias
HEAD_RATE = 100.0  # learning rate of scale and bias over that of the encoder: two numbers far larger than any weight


@launch.in_parallel
def fit(
    spec: Params,
    train: pl.DataFrame,
    dev: pl.DataFrame,
    base: Path,
    out: Path,
    scratch: Path,
    last: Path | None = None,
) -> Training:
    """Fit scale and bias on the base's cosines, train the encoder, write the best checkpoint on dev to `out`.

    Encoder, scale and bias are those of `last` instead, where the model starts warm.
    """
    start = time.monotonic()
    options = spec.training
    chosen = hardware.choose(spec.hardware)
    hardware.make_deterministic(spec.seed)
    source = tokens.source_of(base)
    tokenizer = tokens.tokenizer_of(base)
    train = job.choose_rows(train, options.max_rows, spec.seed)
    dev = job.choose_rows(dev, options.dev_rows, spec.seed)
    max_length, pooling = positions.within(base, options.max_length), tokens.pooling_of(base)
    rows, dev_rows = (PairTexts(tokenizer, source["query_prefix"], frame, max_length) for frame in (train, dev))
    labels, dev_labels = train["label"].fill_null(lessons.NONE).to_list(), dev["label"].to_numpy()
    labelled, teacher = train.filter(pl.col("label").is_not_null()), spec.get("teacher")

    model = PairEmbedder(transformer.load(last or base, chosen), pooling)
    model.to(chosen.device)
    if last:
        model.load_state_dict(load_file(last / "head.safetensors"), strict=False)
    else:
        first = job.choose_rows(labelled, START_ROWS, spec.seed)
        cosines = PairTexts(tokenizer, source["query_prefix"], first, max_length).cosines(model, chosen)
        scale, bias = logistic(cosines, first["label"].to_numpy(), spec.loss.class_weights == "balanced")
        with torch.no_grad():
            model.scale.fill_(scale)
            model.bias.fill_(bias)
        log.info("start: log-odds = %.2f * cosine %+.2f, from %d untuned cosines", scale, bias, len(first))

    def collate(items: list[Item], batch: list[Item]) -> dict[str, torch.Tensor]:
        inputs = tokens.pad([item[0] for item in items] + [item[1] for item in items], rows.distinct.pad_id)
        labels, whole = (torch.tensor([item[2] for item in some]) for some in (items, batch))
        taught = {"lessons": torch.tensor([item[3] for item in items])} if teacher else {}
        return {**inputs, "labels": labels, "whole": whole, **taught}

    def shape(item: Item) -> tuple[int, int]:
        return 2, max(len(item[0].ids), len(item[1].ids))

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
        transformer.freeze(model.encoder, options)
        words = model.encoder.get_input_embeddings()
        loss = objective(spec.loss, labelled["label"].to_list(), 2, words, chosen.device, teacher)
        told = lessons.table(train, 2).tolist() if teacher else [[]] * len(train)

        def loss_of(model: nn.Module, one: dict[str, torch.Tensor]) -> torch.Tensor:
            inputs = {name: value for name, value in one.items() if name not in OF_LOSS}
            return loss(lambda: model(**inputs), one["labels"], one["whole"], one.get("lessons"))

        items = [(a, b, label, lesson) for (a, b), label, lesson in zip(rows.pairs(), labels, told, strict=True)]
        training = job.Job(
            model=model,
            items=items,
            lengths=[max(len(a.ids), len(b.ids)) for a, b, _, _ in items],
            micro_batches=micro_batches.tokens_per_micro_batch(collate, shape, options.packed_tokens),
            loss=loss_of,
            evaluate=evaluate,
            chosen=chosen,
            rate_factors={"scale": HEAD_RATE, "bias": HEAD_RATE},
        )
        record = job.run(training, spec, scratch)
    save(model, tokenizer, source["query_prefix"], (max_length, options.max_length), out)
    return record.with_cut(int(rows.truncated().sum()), len(train), options.max_length, max_length)


def save(
    model: PairEmbedder, tokenizer: PreTrainedTokenizerBase, prefix: str, lengths: tuple[int, int], out: Path
) -> None:
    """Write encoder, tokenizer, scale and bias; `SentenceTransformer(out).encode` puts the prefix before each text.

    `lengths`: the tokens of a text, and `training.max_length`, which may be more than the base has positions for.
    """
    sentence_transformers_folder.embedder(
        model.encoder,
        tokenizer,
        model.pooling,
        {"query": prefix, "document": prefix},
        lengths[0],
        out,
        default_prompt="query" if prefix else None,
    )
    save_file({"scale": model.scale.detach().cpu(), "bias": model.bias.detach().cpu()}, out / "head.safetensors")
    kept = {"pooling": model.pooling, "query_prefix": prefix, "max_length": lengths[1]}
    (out / "embedder.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
