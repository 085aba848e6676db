"""The readings of a prediction that was made with thinking: the joined rows as if one of them were all it said.

`after_reasoning`, the decision: the label probabilities behind the generated reasoning. `generated`: the answer that
the model wrote there itself. `direct`: the label probabilities right behind the prompt, without thinking. A prediction
has all three where it has the columns `direct_prob_*` and `generated_label`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import kinds as data_kinds
from retune.data import labels
from retune.evaluation import dev_metrics, kinds

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


def problem(joined: pl.DataFrame, spec: Params) -> str | None:
    """A sentence about a model whose answers behind its own thoughts are hardly better than one without a look.

    Its training can't tell: on dev it has the gold thoughts, which give the answer away, so only the loss is measured.
    """
    seen = joined.filter("parsed")
    if not several(joined.columns) or seen.is_empty():
        return None
    given = np.clip(seen.select(labels.names(len(spec.labels))).to_numpy().astype(np.float64), 1e-12, 1.0)
    codes = labels.codes(seen[data_kinds.of(spec.kind).TARGET], spec.labels)
    dimensions = seen["dimension"].cast(pl.String).to_numpy() if spec.kind == "scoring" else None
    found = dev_metrics.of(spec.kind, codes, np.log(given), dimensions)
    if dev_metrics.problem(found, "") is None:
        return None
    metric = data_kinds.of(spec.kind).SELECT
    return (
        f"Behind its own thoughts it tells the {len(seen)} calibration rows hardly apart ({metric} "
        f"{found[metric]:.3f}): try training.thinking: false, more training.epochs, a higher training.max_rows, or "
        "another training.learning_rate."
    )


def calibrate(joined: pl.DataFrame, spec: Params) -> dict[str, Any]:
    """What is fitted to `direct` on the calibration rows, as {"direct": ...}; empty where there are no readings."""
    if not several(joined.columns):
        return {}
    return {"direct": kinds.of(spec.kind).calibrate(of(joined, "direct", spec.labels), spec)}
