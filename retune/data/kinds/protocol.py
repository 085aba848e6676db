"""What a module `retune.data.kinds.KIND` must have, for the type checker: nothing imports this when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import dataframely as dy
import polars as pl

from retune.data.kinds import classification, pair, ranking, scoring
from retune.params import Params


class Kind(Protocol):
    """What a row is, and what can be trained on such rows."""

    @property
    def TEXTS(self) -> tuple[str, ...]:
        """The columns that a model reads."""
        ...

    @property
    def IDENTIFYING(self) -> tuple[str, ...]:
        """Those of which a text that stands in train gives away something of a test row that holds it."""
        ...

    @property
    def SYMMETRIC(self) -> bool:
        """Whether the texts may change places."""
        ...

    @property
    def TARGET(self) -> str:
        """The column that a model predicts."""
        ...

    @property
    def UNIT(self) -> str:
        """The column of which `evaluation.limit` takes whole values."""
        ...

    @property
    def LEARNERS(self) -> tuple[str, ...]:
        """The learners that can be trained on it."""
        ...

    @property
    def DEV_METRICS(self) -> tuple[str, ...]:
        """What they measure on dev."""
        ...

    @property
    def SELECT(self) -> str:
        """The dev metric that picks the checkpoint."""
        ...

    @property
    def PRIMARY(self) -> str:
        """The metric that the report leads with."""
        ...

    @property
    def WITHOUT(self) -> Mapping[str, tuple[str, ...] | None]:
        """Section -> its keys (None: all of them) that have no meaning for tasks of this kind."""
        ...

    def schema(self, spec: Params, /) -> type[dy.Schema]:
        """What a converted row must be, in a task of this section `convert`."""
        ...

    def default_group(self) -> pl.Expr:
        """The group of a row that names none."""
        ...

    def binned(self) -> pl.Expr:
        """The target in few values, for counts."""
        ...

    def shortage(self, targets: dict[str, int], /) -> str | None:
        """What a split with these counts of targets lacks; None where it can be measured."""
        ...


class KindWithLabels(Kind, Protocol):
    """A kind that has labels of its own, the same for all of its tasks."""

    @property
    def LABELS(self) -> tuple[str, ...]:
        """The labels, in their order."""
        ...


_classification: Kind = classification
_pair: KindWithLabels = pair
_ranking: KindWithLabels = ranking
_scoring: Kind = scoring
