"""The readings of a prediction that was made with thinking (`retune.evaluation.readings`), on the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.evaluation import bootstrap, kinds, readings
from retune.evaluation.comparison import differences
from retune.evaluation.groups import codes
from retune.evaluation.intervals import summarise

if TYPE_CHECKING:
    from retune.params import Params

NAMES = ("after_reasoning", "generated", "direct")


def write(path: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> None:
    """Write the readings as JSON, if there are any."""
    if readings.several(joined.columns):
        found = measured(joined, fitted, spec, splits)
        path.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def measured(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> dict[str, Any]:
    """`rows`, `readings` ({name: unparsed rows and metrics}), `difference` (after_reasoning minus direct), `tokens`.

    Metrics have the intervals of the bootstrap over groups; the difference is paired, and its p is not corrected.
    `tokens` describes the lengths of the reasoning (mean, median, p90, max), with `silent`, the rows without any.
    """
    kind = kinds.of(spec.kind)
    measure = kind.MEASURE
    groups = codes(joined["group"])
    untempered = fitted | {"temperature": 1.0, "threshold": 0.5}
    chosen = dict(zip(NAMES, (fitted, untempered, fitted["direct"]), strict=True))
    tables = {name: readings.of(joined, name, spec.labels) for name in NAMES}
    answers = [kind.answers(tables[name], chosen[name], spec, splits) for name in NAMES]
    replicated = bootstrap.replicates(measure, answers, groups, spec.bootstrap, spec.seed)
    return {
        "rows": len(joined),
        "readings": {
            name: {
                "unparsed": len(joined) - int(tables[name]["parsed"].sum()),
                "metrics": summarise(measure, given, groups, drawn, spec.confidence),
            }
            for name, given, drawn in zip(NAMES, answers, replicated, strict=True)
        },
        "difference": differences(
            measure, (answers[0], answers[-1]), (replicated[0], replicated[-1]), groups, spec.bootstrap, spec
        ),
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
