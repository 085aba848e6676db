"""The readings of a prediction that was made with thinking, measured on the same rows.

`after_reasoning`, the decision: the label probabilities behind the generated reasoning. `generated`: the answer that
the model wrote there itself. `direct`: the label probabilities right behind the prompt, without thinking. A prediction
has all three where it has the columns `direct_prob_*` and `generated_label`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.evaluation import bootstrap, kinds
from retune.evaluation.comparison import difference
from retune.evaluation.intervals import point, summarise

if TYPE_CHECKING:
    from retune.params import Params

NAMES = ("after_reasoning", "generated", "direct")


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
    fitted: dict[str, Any] = kinds.of(spec.kind).calibrate(of(joined, "direct", spec.labels), spec)
    return {"direct": fitted}


def write(path: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> None:
    """Write the readings as JSON, if there are any."""
    if several(joined.columns):
        found = measured(joined, fitted, spec, splits)
        path.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def measured(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> dict[str, Any]:
    """`rows`, `readings` ({name: unparsed rows and metrics}), `difference` (after_reasoning minus direct), `tokens`.

    Metrics have the intervals of the bootstrap over groups; the difference is paired, and its p is not corrected.
    `tokens` describes the lengths of the reasoning (mean, median, p90, max), with `silent`, the rows without any.
    """
    kind = kinds.of(spec.kind)
    groups = bootstrap.group_codes(joined["group"])
    untempered = fitted | {"temperature": 1.0, "threshold": 0.5}
    chosen = dict(zip(NAMES, (fitted, untempered, fitted["direct"]), strict=True))
    tables = {name: of(joined, name, spec.labels) for name in NAMES}
    answers = [kind.answers(tables[name], chosen[name], spec, splits) for name in NAMES]
    replicated = bootstrap.replicates(kind, answers, groups, spec.bootstrap, spec.seed)
    after, direct = (point(kind, answers[NAMES.index(name)]) for name in ("after_reasoning", "direct"))
    draws = {name: replicated[NAMES.index("after_reasoning")][name] - replicated[-1][name] for name in kind.METRICS}
    return {
        "rows": len(joined),
        "readings": {
            name: {
                "unparsed": len(joined) - int(tables[name]["parsed"].sum()),
                "metrics": summarise(kind, given, drawn, spec.confidence),
            }
            for name, given, drawn in zip(NAMES, answers, replicated, strict=True)
        },
        "difference": {
            name: difference(after[name], direct[name], draws[name], spec.confidence, centre=name in kind.CENTRED)
            for name in kind.METRICS
        },
        "tokens": lengths(joined["reasoning_tokens"]),
    }


def lengths(tokens: pl.Series) -> dict[str, Any]:
    """Mean, median, 90th percentile and greatest of lengths in tokens, and how many rows have none."""
    known = tokens.fill_null(0).to_numpy().astype(np.float64)
    return {
        "mean": float(known.mean()),
        "median": float(np.median(known)),
        "p90": float(np.quantile(known, 0.9)),
        "max": int(known.max()),
        "silent": int((known == 0).sum()),
    }
