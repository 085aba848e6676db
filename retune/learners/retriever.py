"""Learner `embedder` of kind `ranking`: a bi-encoder; a document's score is the cosine of its vector and the query's.

The loss is a weighted sum (`ranking_loss`): the weighted squared error of the cosine against the relevance, in-batch
negatives, and a margin over hard negatives, which are mined with the untuned base among the documents that were not
judged for the query. With Matryoshka `dimensions` the sum is also taken on the first so many numbers of each vector
(Kusupati et al. 2022). With `epochs: 0` the base is scored as it is. `SentenceTransformer(folder)` opens the folder.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import nn

from retune.data import queries
from retune.encoders import bi_encoder, model_card, ranking_losses, sentence_transformers_folder, tokens, transformer
from retune.encoders.bi_encoder import BiEncoder
from retune.encoders.tokens import Encoded
from retune.evaluation import ranking_dev_metrics
from retune.llm import adapter
from retune.training import hardware, job, micro_batches
from retune.training.record import Training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from retune.params import Params
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")


@dataclass(frozen=True)
class Item:
    """A query of the training rows: its documents' places among the distinct ones, what was judged, mined negatives."""

    query: Encoded
    documents: list[int]
    relevance: list[float]
    weights: list[float]
    negatives: list[int]


class Texts:
    """The distinct queries and documents of a table, encoded, and where each row finds its two."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prefixes: dict[str, str], rows: pl.DataFrame, limit: int):
        self.encoded: dict[str, list[Encoded]] = {}
        self.places: dict[str, np.ndarray] = {}
        for column in ("query", "document"):
            place = {text: number for number, text in enumerate(dict.fromkeys(rows[column]))}
            self.places[column] = np.array([place[text] for text in rows[column]], dtype=np.int64)
            self.encoded[column] = tokens.encode(tokenizer, [prefixes[column] + text for text in place], None, limit)
        self.pad_id = int(tokenizer.pad_token_id)

    def truncated(self) -> np.ndarray:
        """Whether a text of the row was cut, [rows] of bool."""
        cut = [np.array([text.truncated for text in self.encoded[c]], dtype=bool)[self.places[c]] for c in self.encoded]
        return np.logical_or(*cut)

    def vectors(self, model: BiEncoder, chosen: Chosen, desc: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors of the distinct queries and documents, float64 [texts, width]."""
        first, second = (bi_encoder.vectors(model, self.encoded[c], self.pad_id, chosen, desc) for c in self.encoded)
        return first.double().numpy(), second.double().numpy()

    def cosines(self, model: BiEncoder, chosen: Chosen, desc: str | None = None) -> np.ndarray:
        """Cosine of every row's query and document, float64 [rows]."""
        first, second = self.vectors(model, chosen, desc)
        found: np.ndarray = (first[self.places["query"]] * second[self.places["document"]]).sum(-1)
        return found


class Predictor:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, model: BiEncoder, tokenizer: PreTrainedTokenizerBase, options: dict[str, Any], chosen: Chosen):
        self.model, self.tokenizer, self.options, self.chosen = model, tokenizer, options, chosen

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score (a cosine), truncated for the rows of `frame`; a text is embedded once."""
        texts = Texts(self.tokenizer, self.options["prefixes"], frame, self.options["max_length"])
        return queries.predictions(frame["id"], texts.cosines(self.model, self.chosen, "predict"), texts.truncated())


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Train the encoder on whole queries, write the best checkpoint on dev to `out`."""
    start = time.monotonic()
    options, losses = spec.training, spec.ranking_loss
    chosen = hardware.choose(spec.hardware)
    hardware.make_deterministic(spec.seed)
    source, tokenizer = tokens.source_of(base), tokens.tokenizer_of(base)
    prefixes = prefixes_of(source)
    train = queries.choose(train, options.max_rows, spec.seed)
    dev = queries.choose(dev, options.dev_rows, spec.seed)
    rows, dev_rows = (Texts(tokenizer, prefixes, frame, options.max_length) for frame in (train, dev))

    model = BiEncoder(transformer.load(base, chosen), source["pooling"])
    transformer.freeze(model.encoder, options)
    tuned = options.epochs > 0
    if tuned and spec.lora.method != "full":
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
    else:
        items = items_of(train, rows, losses, model, chosen)
        per_batch = max(2, round(options.batch_size * len(items) / len(train)))
        log.info("%d queries a batch, for training.batch_size %d rows", per_batch, options.batch_size)
        record = job.run(
            model,
            items,
            micro_batches.uncut(lambda batch: collate(batch, rows), per_batch),
            bi_encoder.with_batch(spec, per_batch),
            scratch,
            evaluate,
            chosen=chosen,
            lengths=[0] * len(items),  # in any order: queries of like documents would be poor negatives of each other
            loss_fn=lambda model, batch: loss(model, batch, losses),
            tokens_of=lambda batch: int(batch["query"]["attention_mask"].sum() + batch["text"]["attention_mask"].sum()),
        )
        if spec.lora.method != "full":
            model.encoder = model.encoder.merge_and_unload()
    record = record.with_cut(int(rows.truncated().sum()), len(train), options.max_length)
    sentence_transformers_folder.embedder(
        model.encoder, tokenizer, source["pooling"], prefixes, options.max_length, out
    )
    kept = {"pooling": source["pooling"], "prefixes": prefixes, "max_length": options.max_length}
    (out / "embedder.json").write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")
    said = f"{len(train):,} judged documents of {len(queries.lists(train)):,} queries of the task {spec.task}."
    use = [
        "from sentence_transformers import SentenceTransformer",
        'model = SentenceTransformer("folder of this card")',
        "queries, documents = model.encode_query([...]), model.encode_document([...])",
    ]
    model_card.write(spec, source, said, record, use, out)
    return record


def prefixes_of(source: dict[str, Any]) -> dict[str, str]:
    """What a base expects before a query and before a document, by its SOURCE.json."""
    query = source["query_prefix"]
    return {"query": query, "document": source.get("passage_prefix", query)}


def items_of(train: pl.DataFrame, rows: Texts, losses: Params, model: BiEncoder, chosen: Chosen) -> list[Item]:
    """The queries of the training rows, with their hard negatives where the loss asks for them."""
    relevance, weights = queries.relevance(train), queries.weights(train)
    listed = queries.lists(train)
    mined: list[list[int]] = [[] for _ in listed]
    if losses.hard > 0:
        first, second = rows.vectors(model, chosen)
        for place, numbers in enumerate(listed):
            cosines = second @ first[rows.places["query"][numbers[0]]]
            judged = rows.places["document"][numbers]
            mined[place] = mine(cosines, judged, relevance[numbers], losses.hard_negatives, losses.margin)
        log.info("%d hard negatives for %d queries", sum(map(len, mined)), len(listed))
    return [
        Item(
            rows.encoded["query"][rows.places["query"][numbers[0]]],
            rows.places["document"][numbers].tolist(),
            relevance[numbers].tolist(),
            weights[numbers].tolist(),
            negatives,
        )
        for numbers, negatives in zip(listed, mined, strict=True)
    ]


def mine(cosines: np.ndarray, judged: np.ndarray, relevance: np.ndarray, count: int, margin: float) -> list[int]:
    """The `count` documents nearest to a query, `cosines` [documents], that were not judged for it.

    Left out are those nearer than `margin` below the query's best positive document, which may well be relevant, too;
    a query without a positive one has none.
    """
    positive = judged[relevance >= ranking_losses.RELEVANT]
    if not len(positive):
        return []
    allowed = cosines <= cosines[positive].max() - margin
    allowed[judged] = False
    ranked = np.argsort(-cosines, kind="stable")
    found: list[int] = ranked[allowed[ranked]][:count].tolist()
    return found


def collate(items: list[Item], rows: Texts) -> dict[str, Any]:
    """A batch: queries, distinct documents (padded both), and [queries, documents] of relevance, weight and mined."""
    places = sorted({place for item in items for place in (*item.documents, *item.negatives)})
    column = {place: number for number, place in enumerate(places)}
    shape = (len(items), len(places))
    relevance, weights, mined = torch.full(shape, torch.nan), torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    for row, item in enumerate(items):
        where = [column[place] for place in item.documents]
        relevance[row, where], weights[row, where] = torch.tensor(item.relevance), torch.tensor(item.weights)
        mined[row, [column[place] for place in item.negatives]] = True
    return {
        "query": tokens.pad([item.query for item in items], rows.pad_id),
        "text": tokens.pad([rows.encoded["document"][place] for place in places], rows.pad_id),
        "relevance": relevance,
        "weights": weights,
        "mined": mined,
    }


def loss(model: nn.Module, batch: dict[str, Any], losses: Params) -> torch.Tensor:
    """The weighted sum of the losses of a batch, the mean over the full vectors and their Matryoshka prefixes."""
    first, second = model(**batch["query"]), model(**batch["text"])
    parts = [
        combined(F.normalize(first[:, :width], dim=-1) @ F.normalize(second[:, :width], dim=-1).T, batch, losses)
        for width in (first.shape[1], *losses.dimensions)
    ]
    return torch.stack(parts).mean()


def combined(cosines: torch.Tensor, batch: dict[str, Any], losses: Params) -> torch.Tensor:
    """The weighted sum of the losses from the cosines [queries, documents]."""
    relevance, weights, mined = batch["relevance"], batch["weights"], batch["mined"]
    judged = ~relevance.isnan()
    total = cosines.sum() * 0.0
    if losses.cosine:
        mse = ranking_losses.cosine_mse(cosines[judged], relevance[judged], weights[judged])
        total = total + losses.cosine * mse
    if losses.in_batch:
        total = total + losses.in_batch * ranking_losses.in_batch(cosines, relevance, weights, losses.temperature)
    if losses.hard:
        pairs = (relevance >= ranking_losses.RELEVANT)[:, :, None] & mined[:, None, :]
        row, positive, negative = pairs.nonzero(as_tuple=True)
        gaps = ranking_losses.margin(cosines[row, positive], cosines[row, negative], losses.margin)
        total = total + losses.hard * gaps
    return total


def load(model_dir: Path, base: Path, hardware_options: Params) -> Predictor:
    """Read what `fit` wrote; the base is not needed."""
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    options = json.loads((model_dir / "embedder.json").read_text(encoding="utf-8"))
    model = BiEncoder(transformer.load(model_dir, chosen), options["pooling"]).to(chosen.device).eval()
    return Predictor(model, tokens.tokenizer_of(model_dir), options, chosen)
