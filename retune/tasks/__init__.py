"""Task kinds: one module each, found by its name (`retune.tasks.KIND`)."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def of(kind: str) -> Any:
    """The module of a task kind: its `schema`, `TEXTS`, `LABELS` and `default_group`."""
    return import_module(f"retune.tasks.{kind}")
