"""Learner `linear` of kind `ranking`: BM25 (Robertson and Zaragoza 2009, Lucene's variant) by the package bm25s.

Words are character n-grams without white space, since Chinese writes no spaces. The collection, of which the rarity of
a word and the mean length are taken, is the training documents and those to be ranked. Saved are the former, as text.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bm25s
import numpy as np
import polars as pl

from retune.data import queries
from retune.data.kinds.texts import normalised
from retune.evaluation import ranking_dev_metrics
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


class Predictor:
    """A collection and how it is searched; `predict` gives a row per input row, in its order."""

    def __init__(self, documents: list[str], options: Params) -> None:
        self.documents, self.options = documents, options

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, score, truncated for the rows of `frame`."""
        return queries.predictions(frame["id"], self.scores(frame), np.zeros(len(frame), dtype=bool))

    def scores(self, frame: pl.DataFrame) -> np.ndarray:
        """BM25 of every row's document for its query, float64 [rows]."""
        texts = frame.select(normalised(name) for name in ("query", "document"))
        place = {text: number for number, text in enumerate(dict.fromkeys([*self.documents, *texts["document"]]))}
        engine = bm25s.BM25(k1=self.options.k1, b=self.options.b, method="lucene")
        engine.index([words(text, self.options.ngrams) for text in place], show_progress=False)
        found = np.zeros(len(frame))
        rows: dict[str, list[int]] = {}
        for number, query in enumerate(texts["query"]):
            rows.setdefault(query, []).append(number)
        for query, numbers in rows.items():
            known = [word for word in words(query, self.options.ngrams) if word in engine.vocab_dict]
            if known:
                scores = engine.get_scores(known)
                found[numbers] = scores[[place[texts["document"][number]] for number in numbers]]
        return found


def words(text: str, ngrams: list[int]) -> list[str]:
    """The character n-grams of a text, of all lengths from the first of `ngrams` to the second."""
    return [text[i : i + n] for n in range(ngrams[0], ngrams[1] + 1) for i in range(len(text) - n + 1)]


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Keep the training documents, measure on `dev`, and write them into `out`; nothing is fitted to the relevance."""
    start = time.monotonic()
    documents = train.select(normalised("document").unique(maintain_order=True)).to_series().to_list()
    (out / "documents.json").write_text(json.dumps(documents, ensure_ascii=False), encoding="utf-8")
    metrics = ranking_dev_metrics.of(dev, Predictor(documents, spec.bm25).scores(dev), float("nan"))
    del metrics["loss"]  # its scale means nothing
    log.info("%d documents, dev ndcg %.3f", len(documents), metrics["ndcg"])
    return Training(
        history=[{"step": 1, **{f"eval_{name}": value for name, value in metrics.items()}}],
        resources={"seconds": time.monotonic() - start, "rows": len(train), "device": "cpu", "parameters_trained": 0},
    )


def load(model_dir: Path, base: Path, hardware: Params) -> Predictor:
    """Read what `fit` wrote and the stage's spec.json."""
    from retune import params

    documents = json.loads((model_dir / "documents.json").read_text(encoding="utf-8"))
    return Predictor(documents, params.load(model_dir / "spec.json").bm25)
