"""What the report and DVC's plots read of one model beside its metrics: one module for each task kind.

It is found by its name (`retune.evaluation.details.KIND`); `protocol.Details` says what such a module has. Only here is
a judge asked, and are reasons graded: neither calibration nor comparison depends on it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from retune.evaluation.details.protocol import Details


def of(kind: str) -> Details:
    """The module of a task kind."""
    return cast("Details", import_module(f"retune.evaluation.details.{kind}"))
