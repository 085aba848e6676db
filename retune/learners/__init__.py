"""Learners: one module each, found by its name (`retune.learners.NAME`), with `fit` and `load`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def of(spec: Any) -> Any:
    """The learner module of a model's spec."""
    return import_module(f"retune.learners.{spec.learner}")
