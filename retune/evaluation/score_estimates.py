"""One number from a distribution over scores: its mean, its median or its mode, as `calibration.estimate` says.

The mean has the least squared error if the distribution is right, the median the least absolute one. A model that is
sure of one score, right or wrong, is not right about its distribution: the temperature that fits it best draws mean and
median to the middle of the scale, and leaves the mode. So `auto` takes what has the least MAE on the calibration rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retune.evaluation import bootstrap, kinds
from retune.evaluation.intervals import metrics_with_intervals
from retune.evaluation.weighted import Floats

if TYPE_CHECKING:
    import polars as pl

    from retune.params import Params

RULES = ("mean", "median", "mode")
"""In the order in which `auto` prefers them where they are equally good."""
SAME = 1e-12


def estimate(chances: Floats, scores: Floats, rule: str) -> Floats:
    """The estimate of each row [n] from probabilities [n, K] of `scores` [K], ascending.

    The median is the lowest score at which half of the probability is reached; the lower of equal modes is taken.
    """
    if rule == "mean":
        return np.asarray((chances * scores).sum(1))
    if rule == "median":
        return np.asarray(scores[(chances.cumsum(1) >= 0.5 - SAME).argmax(1)])
    return np.asarray(scores[chances.argmax(1)])


def choose(chances: Floats, scores: Floats, gold: Floats, rule: str) -> dict[str, Any]:
    """`estimate`, the rule (of `auto` the one of least MAE), and `maes`, what each rule gives on these rows."""
    maes = {name: float(np.abs(estimate(chances, scores, name) - gold).mean()) for name in RULES}
    best = next(name for name in RULES if maes[name] <= min(maes.values()) + SAME)
    return {"estimate": best if rule == "auto" else rule, "maes": maes}


def write(path: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> None:
    """Write {mean, median, mode: {metric: {value, low, high}}} of the same rows and temperature as JSON."""
    kind, groups = kinds.of(spec.kind), bootstrap.group_codes(joined["group"])
    given = {rule: kind.answers(joined, fitted | {"estimate": rule}, spec, splits) for rule in RULES}
    found = {rule: metrics_with_intervals(kind, one, groups, spec) for rule, one in given.items()}
    path.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
