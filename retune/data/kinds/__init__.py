"""Task kinds: one module each, found by its name (`retune.data.kinds.KIND`); `protocol.Kind` says what it has.

How predictions are measured is said in `retune.evaluation.kinds.KIND`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind


def of(kind: str) -> Kind:
    """The module of a task kind."""
    return cast("Kind", import_module(f"retune.data.kinds.{kind}"))
