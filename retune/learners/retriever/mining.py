"""Queries as training items, with their hard negatives (`ranking_loss.hard`)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retune.data import lessons, queries
from retune.encoders import ranking_losses
from retune.encoders.tokens import Encoded

if TYPE_CHECKING:
    from retune.encoders.bi_encoder import BiEncoder
    from retune.learners.retriever.texts import QueryTexts
    from retune.params import Params
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")


@dataclass(frozen=True)
class Item:
    """A query of the training rows: its documents' places among the distinct ones, what was judged, mined negatives.

    `lessons`: what a teacher says of each document, if there is one.
    """

    query: Encoded
    documents: list[int]
    relevance: list[float]
    weights: list[float]
    negatives: list[int]
    lessons: list[float] = field(default_factory=list)


def items_of(train: pl.DataFrame, rows: QueryTexts, losses: Params, model: BiEncoder, chosen: Chosen) -> list[Item]:
    """The queries of the training rows, with their hard negatives where the loss asks for them."""
    relevance, weights = queries.relevance(train), queries.weights(train)
    listed = queries.lists(train)
    mined: list[list[int]] = [[] for _ in listed]
    if losses.hard > 0:
        first, second = rows.vectors(model, chosen)
        for place, numbers in enumerate(listed):
            cosines = second @ first[rows.query[numbers[0]]]
            judged = rows.document[numbers]
            mined[place] = mine(cosines, judged, relevance[numbers], losses.hard_negatives, losses.margin)
        log.info("%d hard negatives for %d queries", sum(map(len, mined)), len(listed))
    told = lessons.table(train)[:, 0] if lessons.LESSON in train.columns else np.zeros(0)
    return [
        Item(
            rows.queries.encoded[rows.query[numbers[0]]],
            rows.document[numbers].tolist(),
            relevance[numbers].tolist(),
            weights[numbers].tolist(),
            negatives,
            told[numbers].tolist() if len(told) else [],
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
