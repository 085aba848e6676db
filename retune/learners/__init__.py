"""Learners: one module each, found by its name (`retune.learners.NAME`), with `fit` and `load`.

What ranks documents, or gives numbers, is another model than what tells labels, so kinds `ranking` and `scoring` have
modules of their own (`retune.learners.KIND.NAME`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

OWN = {"ranking": ("linear", "encoder", "embedder", "llm"), "scoring": ("linear",)}
"""Kind -> the learners that it has modules of its own for; an LLM weighs scores as it weighs labels."""


def module(learner: str, kind: str) -> str:
    """The full name of the module of a learner for a task kind."""
    return f"retune.learners.{kind}.{learner}" if learner in OWN.get(kind, ()) else f"retune.learners.{learner}"


def of(spec: Any) -> Any:
    """The learner module of a model's spec."""
    return import_module(module(spec.learner, spec.kind))
