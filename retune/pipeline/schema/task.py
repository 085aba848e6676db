"""The sections of params.yaml that a task reads: split, exploration, augmentation, calibration, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retune.pipeline.schema.catalog import Strict, Unit
from retune.pipeline.schema.endpoint import Judge

Shares = dict[str, Unit] | Unit


class Split(Strict):
    """Shares of the groups; the rest is train. Official splits of a source stay as they are."""

    dev: Unit = Field(0.1, description="share for early stopping and the choice of the checkpoint")
    calibration: Unit = Field(0.1, description="share for threshold and temperature")
    test: Unit = Field(0.2, description="share that is reported and never used to choose")
    seed: int = Field(0, description="another seed deals the groups anew, and balances with other rows")
    groups: Literal["rows", "connected"] = Field(
        "rows",
        description="what is never divided: a row's own group, so that appended rows move no old row; or all rows that "
        "texts connect to it, where a new row may join two groups and move the old ones",
    )
    drop_shared: bool = Field(
        False,
        description="true: training rows with a text (ranking: a query) that stands in dev, calibration or test are "
        "left out",
    )
    balance: Literal["none", "undersample", "oversample"] | Annotated[int, Field(ge=1)] = Field(
        "none",
        description="training rows of a label: as many as of the rarest, of the most frequent (copies), or at most N",
    )

    @model_validator(mode="after")
    def _something_left(self) -> Split:
        if self.dev + self.calibration + self.test >= 1:
            raise ValueError("dev + calibration + test must stay below 1, the rest is train")
        return self


class Exploration(Strict):
    """What is looked at before any training."""

    doubts: Annotated[int, Field(ge=0)] = Field(
        10_000,
        description="classification, pair: training rows whose label is held against models that did not see them, of "
        "more a sample by hash; seconds for thousands; 0: wrong labels are not looked for",
    )


class Augmentation(Strict):
    """Share of the training rows that get one more row by each method: a number, or one for each label."""

    swap: Shares = Field(default_factory=dict, description="pair: text_a and text_b exchanged")
    synonym: Shares = Field(default_factory=dict, description="Chinese words replaced by synonyms (EDA)")
    insert: Shares = Field(default_factory=dict, description="synonyms of its words put in at random places (EDA)")
    homophone: Shares = Field(
        default_factory=dict, description="Chinese characters replaced by ones that sound the same"
    )
    delete: Shares = Field(default_factory=dict, description="characters deleted at random (EDA)")
    exchange: Shares = Field(default_factory=dict, description="neighbouring characters exchanged (EDA)")
    transitive: Unit = Field(0.0, description="pair: share of a~b, b~c inside one group that give a~c")
    strength: Unit = Field(
        0.1, description="share of a text's characters (delete, exchange, homophone) or known words that change"
    )
    seed: int = Field(0, description="another seed alters other rows")


class Calibration(Strict):
    """What is fitted on the calibration split."""

    threshold: Literal["f1", "accuracy", "cost"] = Field(
        "f1", description="what the threshold of the positive class optimises"
    )
    cost_false_positive: Annotated[float, Field(ge=0)] = Field(1.0, description="for `threshold: cost`")
    cost_false_negative: Annotated[float, Field(ge=0)] = Field(1.0, description="for `threshold: cost`")
    temperature: bool = Field(True, description="fit a temperature to the probabilities")
    estimate: Literal["auto", "mean", "median", "mode"] = Field(
        "auto",
        description="scoring: the number that a distribution over the scores becomes; auto: what has the least MAE on "
        "the calibration split",
    )


class Abstain(Strict):
    """Which answers a task's models keep to themselves: those less sure than a threshold of the calibration split."""

    coverage: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="share of new rows that are answered: the surest ones"
    )
    error: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="most of the answered rows that may be wrong; instead of `coverage`"
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="that `error` is kept: in so many of the calibration splits that could have been drawn"
    )
    none_of_these: Annotated[float, Field(gt=0, lt=0.5)] | None = Field(
        None,
        description="classification: share of the texts with one of the labels that may be taken for texts without; "
        "texts less sure than these are said to be of none",
    )

    @model_validator(mode="after")
    def _one_promise(self) -> Abstain:
        if self.coverage is not None and self.error is not None:
            raise ValueError("promises a coverage or an error, not both: take one out")
        if self.coverage is None and self.error is None and self.none_of_these is None:
            raise ValueError("needs `coverage`, `error` or `none_of_these`, as in {coverage: 0.9}")
        if self.error is None and "confidence" in self.model_fields_set:
            raise ValueError("`confidence` is that of `error`, which is not asked for: take it out")
        if (self.none_of_these or 0.0) > 1 - (self.coverage or 0.0) + 1e-9:
            raise ValueError("`none_of_these` keeps more to itself than `coverage` lets: lower one of them")
        return self

    def promised(self) -> dict[str, float]:
        """What is asked for; `confidence` beside `error` alone."""
        return self.model_dump(exclude_none=True, exclude=set() if self.error else {"confidence"})


class Evaluation(Strict):
    """How the test split is measured."""

    bootstrap: Annotated[int, Field(ge=100)] = Field(1000, description="resamples of the groups, for the intervals")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="of the intervals")
    errors: Annotated[int, Field(ge=0)] = Field(20, description="worst errors listed in the report")
    limit: Annotated[int, Field(ge=1)] | None = Field(
        None, description="quick look: only so many test rows, chosen by hash, are predicted and measured; null: all"
    )
    generate_rows: Annotated[int, Field(ge=0)] = Field(
        0, description="llm: test rows, chosen by hash, whose answer is also generated and parsed, to compare; 0: none"
    )
    bins: list[int] | None = Field(
        None,
        description="scoring: the scores at which another bin of the bin accuracy begins, e.g. [4, 8] for 1-3, 4-7 and "
        "8-10; null: thirds of the scores",
    )
    terms: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None,
        description="terms of the field that a good reason uses; null: the list of company analysis that comes with "
        "Retune; []: none, and that measure is left out",
    )
    judge: Judge | None = Field(
        None,
        description="tasks with reasons: an endpoint that grades them, beside the rules; null: nothing is sent",
    )
