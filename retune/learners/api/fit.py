"""Train nothing and ask nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retune.training.record import Training

if TYPE_CHECKING:
    import polars as pl

    from retune.params import Params


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """The record says who will answer."""
    return Training(
        resources={"device": "remote", "parameters_trained": 0},
        messages=[f"Nothing is trained: {spec.api.model} at {spec.api.url} answers the task's prompt zero-shot."],
    )
