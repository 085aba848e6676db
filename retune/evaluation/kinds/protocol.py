"""What a module `retune.evaluation.kinds.KIND` must have, for the type checker: nothing imports this when it runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import polars as pl

from retune.evaluation.binary_metrics import BinaryAnswers
from retune.evaluation.kinds import classification, pair, ranking, scoring
from retune.evaluation.kinds.ranking import RankingAnswers
from retune.evaluation.measure import A, Measure
from retune.evaluation.multiclass_metrics import ClassAnswers
from retune.evaluation.score_metrics import ScoreAnswers
from retune.params import Params


class Kind(Protocol[A]):
    """How the predictions of a task kind are measured; A holds one model's answers.

    `joined` are the rows of a split with the predictions beside them (`retune.evaluation.predictions.join`), with all
    of their columns; `spec` is a section of the task (calibration, evaluation), `splits` the summary.json of its
    splits, `fitted` what `calibrate` gave.
    """

    @property
    def MEASURE(self) -> Measure[A]:
        """The metrics; the first is the primary one."""
        ...

    def columns(self, spec: Params, given: Collection[str] = (), /) -> tuple[str, ...]:
        """What is read of predictions with the columns `given`; a row is unparsed where one of these is null."""
        ...

    def calibrate(self, joined: pl.DataFrame, spec: Params, /) -> dict[str, Any]:
        """What is fitted on the calibration split, with `messages`, sentences for the report."""
        ...

    def answers(self, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any], /) -> A:
        """One model's answers."""
        ...

    def constant_baseline(self, given: A, /) -> A:
        """The answers, to the same rows, of one who knows only how frequent the targets are."""
        ...

    def coverage(self, given: A, /) -> dict[str, int]:
        """How many units (queries, dimensions) there are and how many count, where that is not all of the rows."""
        ...

    def cautions(self, given: A, spec: Params, /) -> list[str]:
        """Sentences about what these rows can't show, whatever the model."""
        ...

    def wins(self, a: A, b: A, /) -> tuple[int, int, float]:
        """In how many rows (queries) only a is right (better), only b is, and the share in which they are alike."""
        ...

    def disagreements(self, joined: dict[str, pl.DataFrame], models: dict[str, A], /) -> pl.DataFrame:
        """Rows on which the models differ, most disputed first."""
        ...


class ChainedKind(Kind[A], Protocol[A]):
    """A kind whose tasks may have chains of two models."""

    def chained(self, first: A, second: A, candidates: int, /) -> tuple[A, float]:
        """The answers of a chain, and the share of the second model's calls that it saves."""
        ...


_classification: Kind[ClassAnswers] = classification
_pair: Kind[BinaryAnswers] = pair
_ranking: ChainedKind[RankingAnswers] = ranking
_scoring: Kind[ScoreAnswers] = scoring
