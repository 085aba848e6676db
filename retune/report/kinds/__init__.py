"""What the report shows of one task kind: one module each (`retune.report.kinds.KIND`), and its parts of the page.

`protocol.Kind` says what such a module has.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from retune.report.kinds.protocol import Kind


def of(kind: str) -> Kind:
    """The module of a task kind."""
    return cast("Kind", import_module(f"retune.report.kinds.{kind}"))
