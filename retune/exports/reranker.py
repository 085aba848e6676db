"""Rerankers as folders of sentence-transformers' CrossEncoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from retune.exports import weights
from retune.exports.protocol import PLAIN, Built, Exported
from retune.learners.reranker.model import encode
from retune.learners.reranker.predict import EncoderReranker
from retune.learners.reranker.predict import load as load_built

if TYPE_CHECKING:
    from retune.params import Params


def write(built: Built, out: Path) -> Exported:
    """Write the folder; its scores are raw, and `scale * score + bias` of the calibration is a relevance."""
    own = load_built(built.folder, built.base, PLAIN)
    model, pooling = weights.encoder(built.folder), own.model.pooling
    weights.cross_encoder(model, own.tokenizer, pooling, own.model.head, own.max_length, out)
    weights.keep(out / "reranker.json", pooling=pooling, max_length=own.max_length)
    use = ["from sentence_transformers import CrossEncoder", "", 'model = CrossEncoder(".")']
    use += ['scores = model.predict([("a query", "a document"), ("a query", "another document")])']
    use += ['ranked = model.rank("a query", ["a document", "another document"])  # {corpus_id, score}, the best first']
    return Exported(
        "cross-encoder", "cross_encoder_ranking", "sentence-transformers", "text-ranking", use, built.fitted
    )


def load(folder: Path, card: Params, hardware: Params) -> EncoderReranker:
    """Read what `write` wrote."""
    return load_built(folder, folder, hardware)


def token_ids(predictor: EncoderReranker, rows: pl.DataFrame) -> list[list[int]]:
    """Token ids of each query with its document."""
    return [one.ids for one in encode(predictor.tokenizer, rows, predictor.max_length)]
