"""What the report shows of one task kind: one module each (`retune.report.kinds.KIND`), and its parts of the page.

Each has `LEADING` (two metrics: the primary one, and one that needs no decision), `COMPARED` (those that comparisons
show first), `IGNORANT` (who knows only how frequent the targets are), `OVER` (the metric compared with it), `WINS` (the
heads of the columns of a paired test), `SECTIONS` (anchor and title of its own parts of the page), `tile(split)` and
`split_columns(split)` (what the targets of a split look like), `read(folder)` (what the stage evaluate wrote of a
model) and `view(task)` (what KIND.html and KIND_errors.html show).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def of(kind: str) -> Any:
    """The module of a task kind."""
    return import_module(f"retune.report.kinds.{kind}")
