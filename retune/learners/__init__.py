"""What is trained: one module for each learner and kind of task, found by one table, with `fit` and `load`.

What ranks documents, or gives numbers, is another model than what tells labels, so a kind may have a module of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

MODULES: dict[str, dict[str, str]] = {
    "linear": {"": "tfidf_logistic", "ranking": "bm25", "scoring": "tfidf_ridge"},
    "encoder": {"": "classifier", "ranking": "reranker"},
    "embedder": {"": "pair_embedder", "ranking": "retriever"},
    "llm": {"": "llm", "ranking": "llm_reranker"},
    "api": {"": "api"},
}
"""Learner -> kind of task ("": any other) -> module of this package."""


def module(learner: str, kind: str) -> str:
    """The full name of the module of a learner for a task kind."""
    table = MODULES[learner]
    return f"retune.learners.{table.get(kind, table[''])}"


def of(spec: Any) -> Any:
    """The learner module of a model's spec."""
    return import_module(module(spec.learner, spec.kind))
