"""What a module `retune.evaluation.details.KIND` must have, for the type checker: nothing imports this when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import polars as pl

from retune.evaluation.details import classification, pair, ranking, scoring
from retune.params import Params


class Details(Protocol):
    """The tables and curves behind the metrics of a task kind."""

    def write(
        self, folder: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any], /
    ) -> None:
        """Write what the report and DVC's plots read into the folders `details` and `plots` of `folder`.

        The arguments are those of `retune.evaluation.kinds.KIND.answers`.
        """
        ...


_classification: Details = classification
_pair: Details = pair
_ranking: Details = ranking
_scoring: Details = scoring
