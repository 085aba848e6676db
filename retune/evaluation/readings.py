"""The readings of a prediction that was made with thinking: the joined rows as if one of them were all it said.

`after_reasoning`, the decision: the label probabilities behind the generated reasoning. `generated`: the answer that
the model wrote there itself. `direct`: the label probabilities right behind the prompt, without thinking. A prediction
has all three where it has the columns `direct_prob_*` and `generated_label`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from retune.data import labels
from retune.evaluation import kinds

if TYPE_CHECKING:
    from retune.params import Params


def several(given: Sequence[str]) -> bool:
    """Whether a prediction with these columns has readings."""
    return "direct_prob_0" in given


def of(joined: pl.DataFrame, name: str, names: Sequence[str]) -> pl.DataFrame:
    """The joined rows as if this reading were all that the model said; `names` are the labels, in their order.

    Of `generated`, the label that was written has probability 1, and a score is the one that was written.
    """
    probabilities = labels.names(len(names))
    if name == "after_reasoning":
        return joined
    if name == "direct":
        table = joined.with_columns(pl.col(f"direct_{column}").alias(column) for column in probabilities)
        return table.with_columns(parsed=pl.all_horizontal(pl.col(column).is_not_null() for column in probabilities))
    said = pl.col("generated_label").cast(pl.String)
    known = said.is_in(list(names)).fill_null(False)
    certain = [
        pl.when(known).then((said == label).cast(pl.Float64)).alias(column)
        for label, column in zip(names, probabilities, strict=True)
    ]
    return joined.with_columns(*certain, parsed=known)


def calibrate(joined: pl.DataFrame, spec: Params) -> dict[str, Any]:
    """What is fitted to `direct` on the calibration rows, as {"direct": ...}; empty where there are no readings."""
    if not several(joined.columns):
        return {}
    return {"direct": kinds.of(spec.kind).calibrate(of(joined, "direct", spec.labels), spec)}
