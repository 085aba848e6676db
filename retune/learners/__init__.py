"""What is trained: one package for each learner and kind of task, found by one table.

What ranks documents, or gives numbers, is another model than what tells labels, so a kind may have a package of its
own. Its modules `fit` and `predict` (retune.learners.protocols) never import each other: what only predicts is in no
training's fingerprint, and the other way round. Both import what both need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from retune.learners.protocols import Fit, FitFromLast, Load, Predictor
    from retune.params import Params
    from retune.training.record import Training

MODULES: dict[str, dict[str, str]] = {
    "linear": {"": "tfidf_logistic", "ranking": "bm25", "scoring": "tfidf_ridge"},
    "encoder": {"": "classifier", "ranking": "reranker"},
    "embedder": {"": "pair_embedder", "ranking": "retriever"},
    "llm": {"": "llm", "ranking": "llm_reranker"},
    "api": {"": "api"},
}
"""Learner -> kind of task ("": any other) -> package in this one."""


def module(learner: str, kind: str) -> str:
    """The full name of the package of a learner for a task kind."""
    table = MODULES[learner]
    return f"retune.learners.{table.get(kind, table[''])}"


def package(spec: Params) -> str:
    """The name in this package of what fits the model of a spec."""
    return module(spec.learner, spec.kind).rpartition(".")[2]


def fit(
    spec: Params,
    train: pl.DataFrame,
    dev: pl.DataFrame,
    base: Path,
    out: Path,
    scratch: Path,
    last: Path | None = None,
) -> Training:
    """Train the model of a spec by its learner, from its version in `last` where it starts warm.

    See `retune.learners.protocols.Fit` and `FitFromLast`.
    """
    found = import_module(f"{module(spec.learner, spec.kind)}.fit").fit
    if last:
        from_last: FitFromLast = found
        return from_last(spec, train, dev, base, out, scratch, last)
    learner: Fit = found
    return learner(spec, train, dev, base, out, scratch)


def load(spec: Params, model_dir: Path, base: Path, hardware: Params, options: Params | None = None) -> Predictor:
    """Read the model of a spec by its learner; see `retune.learners.protocols.Load`."""
    learner: Load = import_module(f"{module(spec.learner, spec.kind)}.predict").load
    return learner(model_dir, base, hardware, options)
