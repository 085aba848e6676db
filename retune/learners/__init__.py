"""Learners: one module each, found by its name (`retune.learners.NAME`), with `fit` and `load`.

What ranks documents is another model than what tells labels, so kind `ranking` has modules of its own
(`retune.learners.ranking.NAME`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def module(learner: str, kind: str) -> str:
    """The full name of the module of a learner for a task kind."""
    return f"retune.learners.ranking.{learner}" if kind == "ranking" else f"retune.learners.{learner}"


def of(spec: Any) -> Any:
    """The learner module of a model's spec."""
    return import_module(module(spec.learner, spec.kind))
