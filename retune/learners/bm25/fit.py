"""Keep the training documents; nothing is fitted to the relevance."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from retune.data.kinds.texts import normalised
from retune.evaluation import dev_metrics, ranking_dev_metrics
from retune.learners.bm25.search import scores
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Write the training documents into `out`, and measure on `dev`."""
    start = time.monotonic()
    documents = train.select(normalised("document").unique(maintain_order=True)).to_series().to_list()
    (out / "documents.json").write_text(json.dumps(documents, ensure_ascii=False), encoding="utf-8")
    metrics = ranking_dev_metrics.of(dev, scores(documents, dev, spec.bm25), float("nan"))
    del metrics["loss"]  # its scale means nothing
    log.info("%d documents, dev ndcg %.3f", len(documents), metrics["ndcg"])
    problem = dev_metrics.problem(metrics, f"other bm25.ngrams (here {spec.bm25.ngrams}), or the learner `embedder`")
    if problem:
        log.warning(problem)
    measured = dev_metrics.of_the_model(metrics)
    return Training(
        history=[{"step": 1, **{f"eval_{name}": value for name, value in measured.items()}}],
        resources={"seconds": time.monotonic() - start, "rows": len(train), "device": "cpu", "parameters_trained": 0},
        warnings=[problem] if problem else [],
    )
