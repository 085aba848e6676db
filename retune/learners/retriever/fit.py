"""Train the encoder on whole queries."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
import torch.nn.functional as F
from torch import nn

from retune.data import queries
from retune.encoders import (
    distillation,
    in_passes,
    model_card,
    ranking_losses,
    sentence_transformers_folder,
    tokens,
    transformer,
)
from retune.encoders.bi_encoder import BiEncoder
from retune.evaluation import ranking_dev_metrics
from retune.learners.retriever.mining import Item, items_of
from retune.learners.retriever.texts import QueryTexts
from retune.llm import adapter
from retune.training import hardware, job, positions
from retune.training.micro_batches import MicroBatches
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


def fit(
    spec: Params,
    train: pl.DataFrame,
    dev: pl.DataFrame,
    base: Path,
    out: Path,
    scratch: Path,
    last: Path | None = None,
) -> Training:
    """Train the encoder, or that of `last`, on whole queries; write the best checkpoint on dev to `out`."""
    start = time.monotonic()
    options, tuned = spec.training, spec.training.epochs > 0
    chosen = hardware.choose(spec.hardware)
    hardware.make_deterministic(spec.seed)
    source, tokenizer = tokens.source_of(base), tokens.tokenizer_of(base)
    prefixes, pooling = prefixes_of(source), tokens.pooling_of(base)
    max_length = positions.within(base, options.max_length)
    dev = queries.choose(dev, options.dev_rows, spec.seed)
    dev_rows = QueryTexts(tokenizer, prefixes, dev, max_length)

    model = BiEncoder(transformer.load(last or base, chosen), pooling)
    if tuned and spec.lora.method == "full":
        transformer.freeze(model.encoder, options)
    elif tuned:
        model.encoder = adapter.add(
            model.encoder, spec.lora, spec.base_name, spec.seed, chosen, None, options.freeze_layers
        )
    model.to(chosen.device)
    target, weights = torch.tensor(queries.relevance(dev)), torch.tensor(queries.weights(dev))

    def evaluate(model: BiEncoder) -> dict[str, float]:
        cosines = dev_rows.cosines(model, chosen)
        error = ranking_losses.cosine_mse(torch.tensor(cosines), target, weights)
        return ranking_dev_metrics.of(dev, cosines, float(error))

    if not tuned:
        record = job.untuned(
            model,
            chosen,
            evaluate(model),
            seconds=time.monotonic() - start,
            fitted=0,
            message="The encoder is untuned (training.epochs is 0).",
        )
        data = f"No row of the task {spec.task} was learned from."
    else:
        losses, train = spec.ranking_loss, queries.choose(train, options.max_rows, spec.seed)
        rows = QueryTexts(tokenizer, prefixes, train, max_length)
        data = f"{len(train):,} judged documents of {len(queries.lists(train)):,} queries of the task {spec.task}."
        items = items_of(train, rows, losses, model, chosen)
        per_batch = max(2, round(options.batch_size * len(items) / len(train)))
        log.info("%d queries a batch, for training.batch_size %d rows", per_batch, options.batch_size)
        training = job.Job(
            model=model,
            items=items,
            lengths=[0] * len(items),  # in any order: queries of like documents would be poor negatives of each other
            micro_batches=MicroBatches(
                lambda items, _batch, size: [collate(items, rows, size)], options.packed_tokens, "tokens", passes_of
            ),
            loss=lambda model, batch: loss(model, batch, losses, spec.get("teacher")),
            evaluate=evaluate,
            chosen=chosen,
            batch_size=per_batch,
            tokens_of=lambda batch: in_passes.count_tokens(batch["query"]) + in_passes.count_tokens(batch["text"]),
        )
        record = job.run(training, spec, scratch)
        if spec.lora.method != "full":
            model.encoder = transformer.merged(model.encoder)
        record = record.with_cut(int(rows.truncated().sum()), len(train), options.max_length, max_length)
    sentence_transformers_folder.embedder(model.encoder, tokenizer, pooling, prefixes, max_length, out)
    kept = {"pooling": pooling, "prefixes": prefixes, "max_length": options.max_length}
    (out / "embedder.json").write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")
    use = [
        "from sentence_transformers import SentenceTransformer",
        'model = SentenceTransformer("folder of this card")',
        "queries, documents = model.encode_query([...]), model.encode_document([...])",
    ]
    model_card.write(spec, data, record, use, out)
    return record


def prefixes_of(source: dict[str, Any]) -> dict[str, str]:
    """What a base expects before a query and before a document, by its SOURCE.json."""
    query = source["query_prefix"]
    return {"query": query, "document": source.get("passage_prefix", query)}


def collate(items: list[Item], rows: QueryTexts, size: int) -> dict[str, Any]:
    """A batch: queries, distinct documents (both in passes), and [queries, documents] of relevance, weight and mined.

    All documents of a batch are compared with all of its queries, so it is one micro-batch; `size` tokens are a pass.
    """
    places = sorted({place for item in items for place in (*item.documents, *item.negatives)})
    column = {place: number for number, place in enumerate(places)}
    shape = (len(items), len(places))
    told = torch.full(shape, torch.nan)
    relevance, weights, mined = torch.full(shape, torch.nan), torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    for row, item in enumerate(items):
        where = [column[place] for place in item.documents]
        relevance[row, where], weights[row, where] = torch.tensor(item.relevance), torch.tensor(item.weights)
        if item.lessons:
            told[row, where] = torch.tensor(item.lessons)
        mined[row, [column[place] for place in item.negatives]] = True
    return {
        "query": in_passes.split([item.query for item in items], rows.documents.pad_id, size),
        "text": in_passes.split([rows.documents.encoded[place] for place in places], rows.documents.pad_id, size),
        "relevance": relevance,
        "weights": weights,
        "mined": mined,
        **({"lessons": told} if any(item.lessons for item in items) else {}),
    }


def passes_of(batch: dict[str, Any]) -> int:
    """How many forward passes the batch takes."""
    return len(batch["query"]["passes"]) + len(batch["text"]["passes"])


def loss(model: nn.Module, batch: dict[str, Any], losses: Params, teacher: Params | None = None) -> torch.Tensor:
    """The weighted sum of the losses of a batch, the mean over the full vectors and their Matryoshka prefixes."""
    first, second = in_passes.outputs(model, batch["query"]), in_passes.outputs(model, batch["text"])
    parts = [
        combined(
            F.normalize(first[:, :width], dim=-1) @ F.normalize(second[:, :width], dim=-1).T, batch, losses, teacher
        )
        for width in (first.shape[1], *losses.dimensions)
    ]
    return torch.stack(parts).mean()


def combined(
    cosines: torch.Tensor, batch: dict[str, Any], losses: Params, teacher: Params | None = None
) -> torch.Tensor:
    """The weighted sum of the losses from the cosines [queries, documents], and the teacher's margins beside it."""
    relevance, weights, mined = batch["relevance"], batch["weights"], batch["mined"]
    judged = ~relevance.isnan()
    total = cosines.sum() * 0.0
    if losses.cosine and judged.any():
        mse = ranking_losses.cosine_mse(cosines[judged], relevance[judged], weights[judged])
        total = total + losses.cosine * mse
    if losses.in_batch:
        total = total + losses.in_batch * ranking_losses.in_batch(cosines, relevance, weights, losses.temperature)
    if losses.hard:
        pairs = (relevance >= ranking_losses.RELEVANT)[:, :, None] & mined[:, None, :]
        row, positive, negative = pairs.nonzero(as_tuple=True)
        gaps = ranking_losses.margin(cosines[row, positive], cosines[row, negative], losses.margin)
        total = total + losses.hard * gaps
    if teacher is None:
        return total
    told = ~batch["lessons"].isnan()
    row = told.nonzero(as_tuple=True)[0]
    margins = distillation.margin_mse(cosines[told], batch["lessons"][told], row)
    return (1 - teacher.weight) * total + teacher.weight * margins
