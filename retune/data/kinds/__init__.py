"""Task kinds: one module each, found by its name (`retune.data.kinds.KIND`).

A kind says what a row is: `schema(spec)` and `TEXTS` (the columns that a model reads), `SYMMETRIC` (whether they may
change places), `TARGET` (the column that it predicts) and `binned()` (the target in few values, for counts),
`default_group()`, and `shortage(targets)`, what a split of these counts lacks. `UNIT` is the column of which
`evaluation.limit` takes whole values. `LEARNERS` can be trained on it, `DEV_METRICS` are what they measure on dev,
`SELECT` the one that picks the checkpoint, `PRIMARY` the metric that the report leads with. `WITHOUT`, if there is one,
are the keys of sections (None: all of them) that have no meaning for its tasks. How predictions are measured is said in
`retune.evaluation.kinds.KIND`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def of(kind: str) -> Any:
    """The module of a task kind."""
    return import_module(f"retune.data.kinds.{kind}")
