"""One number from a distribution over scores: its mean, its median or its mode, as `calibration.estimate` says.

The mean has the least squared error if the distribution is right, the median the least absolute one. A model that is
sure of one score, right or wrong, is not right about its distribution: the temperature that fits it best draws mean and
median to the middle of the scale, and leaves the mode. So `auto` takes what has the least MAE on the calibration rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retune.evaluation.weighted import Floats

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
