"""Train the encoder and its linear layer on whole queries."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import nn

from retune.data import lessons, queries
from retune.encoders import (
    distillation,
    in_passes,
    model_card,
    ranking_losses,
    sentence_transformers_folder,
    tokens,
    transformer,
)
from retune.errors import RetuneError
from retune.evaluation import ranking_dev_metrics
from retune.learners.reranker.model import Reranker, encode, load_head, scores
from retune.llm import adapter
from retune.training import hardware, job, positions
from retune.training.distributed import launch
from retune.training.micro_batches import MicroBatches, within
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

HEAD_RATE = 20.0  # learning rate of the new linear layer over that of the pretrained ones


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
    """Train the encoder and a new linear layer, or those of `last`, on whole queries; write the best on dev to `out`.

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
    pooling, tokenizer = tokens.pooling_of(base), tokens.tokenizer_of(base)
    train = queries.choose(train, options.max_rows, spec.seed)
    dev = queries.choose(dev, options.dev_rows, spec.seed)
    max_length = positions.within(base, options.max_length)
    rows, dev_rows = (encode(tokenizer, frame, max_length) for frame in (train, dev))
    pad_id = int(tokenizer.pad_token_id)
    relevance, weights = queries.relevance(train), queries.weights(train)
    teacher = spec.get("teacher")
    told = lessons.table(train)[:, 0] if teacher else np.full(len(train), np.nan)
    items = [numbers for numbers in queries.lists(train) if teaches(relevance[numbers], told[numbers])]
    if not items:
        raise RetuneError(f"no training query of task {spec.task} has documents of different relevance, so none can "
                          "be ranked above another; add judged documents, or use the learner `embedder`")  # fmt: skip
    per_batch = max(1, round(options.batch_size * len(items) / sum(map(len, items))))
    log.info("%d queries a batch, for training.batch_size %d rows", per_batch, options.batch_size)

    model = Reranker(transformer.load(last or base, chosen), pooling)
    if last:
        load_head(model, last)
    if spec.lora.method == "full":
        transformer.freeze(model.encoder, options)
    else:
        model.encoder = adapter.add(
            model.encoder, spec.lora, spec.base_name, spec.seed, chosen, None, options.freeze_layers
        )

    def judged(lists: list[np.ndarray]) -> dict[str, torch.Tensor]:
        numbers = np.concatenate(lists)
        return {
            "relevance": torch.tensor(relevance[numbers], dtype=torch.float32),
            "weights": torch.tensor(weights[numbers], dtype=torch.float32),
            "queries": torch.tensor(np.repeat(np.arange(len(lists)), [len(part) for part in lists])),
            **({"lessons": torch.tensor(told[numbers], dtype=torch.float32)} if teacher else {}),
        }

    def longest(numbers: np.ndarray) -> int:
        return max(len(rows[number].ids) for number in numbers)

    def split(lists: list[np.ndarray], batch: list[np.ndarray], size: int) -> list[dict[str, Any]]:
        """Whole queries; the documents of one that is larger than a pass share a loss, not a pass."""
        places = within([(len(numbers), longest(numbers)) for numbers in lists], size)
        return [collate([lists[place] for place in part], batch, size) for part in places]

    def collate(lists: list[np.ndarray], batch: list[np.ndarray], size: int) -> dict[str, Any]:
        own, whole = judged(lists), judged(batch)
        shares = {"share": torch.tensor(amount(losses, **own) / (amount(losses, **whole) or 1.0))}
        if teacher:
            shares["taught_share"] = torch.tensor(pairs_told(own) / (pairs_told(whole) or 1.0))
        inputs = in_passes.split([rows[number] for number in np.concatenate(lists)], pad_id, size)
        return {"inputs": inputs, **own, **shares}

    def loss_of(model: nn.Module, one: dict[str, Any]) -> torch.Tensor:
        given = {name: one[name] for name in ("relevance", "weights", "queries")}
        found = in_passes.outputs(model, one["inputs"])
        if teacher is None:
            return one["share"] * loss(found, losses, **given)
        judged = ~one["relevance"].isnan()
        by_judges = one["share"] * loss(found[judged], losses, **{name: value[judged] for name, value in given.items()})
        by_teacher = one["taught_share"] * distillation.margin_mse(found, one["lessons"], one["queries"])
        return (1 - teacher.weight) * by_judges + teacher.weight * by_teacher

    dev_judged = {
        "relevance": torch.tensor(queries.relevance(dev)),
        "weights": torch.tensor(queries.weights(dev)),
        "queries": torch.tensor(queries.codes(dev)),
    }

    def evaluate(model: Reranker) -> dict[str, float]:
        found = scores(model, dev_rows, pad_id, chosen)
        return ranking_dev_metrics.of(dev, found, float(loss(torch.tensor(found), losses, **dev_judged)))

    training = job.Job(
        model=model,
        items=items,
        lengths=list(map(longest, items)),
        micro_batches=MicroBatches(split, options.packed_tokens, "tokens", lambda one: len(one["inputs"]["passes"])),
        loss=loss_of,
        evaluate=evaluate,
        chosen=chosen,
        batch_size=per_batch,
        rate_factors={} if last else {"head.weight": HEAD_RATE, "head.bias": HEAD_RATE},
        tokens_of=lambda one: in_passes.count_tokens(one["inputs"]),
    )
    record = job.run(training, spec, scratch)
    if spec.lora.method != "full":
        model.encoder = transformer.merged(model.encoder)
    record = record.with_cut(sum(row.truncated for row in rows), len(rows), options.max_length, max_length)
    sentence_transformers_folder.reranker(model.encoder, tokenizer, pooling, model.head, max_length, out)
    kept = {"pooling": pooling, "max_length": options.max_length}
    (out / "reranker.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")
    said = f"{len(train):,} judged documents of {len(items):,} queries of the task {spec.task}."
    use = [
        "from sentence_transformers import CrossEncoder",
        'model = CrossEncoder("folder of this card")',
        "scores = model.predict([(query, document), ...])",
    ]
    model_card.write(spec, said, record, use, out)
    return record


def loss(
    scores: torch.Tensor, losses: Params, relevance: torch.Tensor, weights: torch.Tensor, queries: torch.Tensor
) -> torch.Tensor:
    """The loss that `ranking_loss.reranker` names, over the documents of each query, all [rows]."""
    if losses.reranker == "ranknet":
        return ranking_losses.ranknet(scores, relevance, weights, queries)
    return ranking_losses.listnet(scores, relevance, weights, queries, losses.list_temperature)


def amount(
    losses: Params,
    relevance: torch.Tensor,
    weights: torch.Tensor,
    queries: torch.Tensor,
    lessons: torch.Tensor | None = None,
) -> float:
    """What `loss` divides by: a part of a batch adds its own share of this to the loss of the batch."""
    if losses.reranker == "ranknet":
        return float(ranking_losses.preferences(relevance, weights, queries).sum())
    return float(queries[~relevance.isnan()].unique(return_counts=True)[1].gt(1).sum())


def pairs_told(batch: dict[str, torch.Tensor]) -> float:
    """What the teacher's part of the loss divides by."""
    return float(distillation.margins(batch["lessons"], batch["queries"]).sum())


def teaches(relevance: np.ndarray, told: np.ndarray) -> bool:
    """Whether a query says which of its documents stands above another: by judgements, or by its teacher."""
    return len(set(relevance[~np.isnan(relevance)])) > 1 or int((~np.isnan(told)).sum()) > 1
