"""What `auto` comes to in the section `training`, by learner and kind of task: what works untried on other data.

Measured: docs/learners.md, "What a learner takes by itself". What a user writes beats it.
"""

from __future__ import annotations

from typing import Any

from retune.pipeline import effective
from retune.pipeline.effective import Spec

LEARNING_RATES = {
    "classifier": 1e-4,
    "reranker": 1e-4,
    "pair_embedder": 5e-5,
    "retriever": 5e-5,
    "llm": 2e-5,
    "llm_reranker": 2e-5,
}
"""Package of `retune.learners` -> the highest rate where all weights are trained."""

ADAPTER = 2e-4
"""That of an adapter, whose weights are few and begin at zero."""


def training(spec: Spec) -> dict[str, Any]:
    """The section `training` of a merged spec with a value in the place of each `auto` but `select`."""
    section: dict[str, Any] = dict(spec["training"])
    if section["learning_rate"] == "auto":
        whole = spec.get("lora", {}).get("method", "full") == "full"
        section["learning_rate"] = LEARNING_RATES[effective.package(spec)] if whole else ADAPTER
    if section["head"] == "auto":
        section["head"] = "probe"
    return section
