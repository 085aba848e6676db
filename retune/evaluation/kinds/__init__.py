"""How the predictions of a task kind are measured: one module each, found by its name (`retune.evaluation.kinds.KIND`).

`protocol.Kind` says what such a module has.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from retune.evaluation.kinds.protocol import Kind


def of(kind: str) -> Kind[Any]:
    """The module of a task kind."""
    return cast("Kind[Any]", import_module(f"retune.evaluation.kinds.{kind}"))
