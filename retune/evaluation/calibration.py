"""Temperature and decision threshold of one model, fitted on the calibration split.

Calibrated p = softmax(log p / T), as sigmoid(log odds / T); the decision is 1 iff p_1 >= threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from retune.errors import RetuneError
from retune.evaluation.binary_metrics import BinaryAnswers, brier, measure, nll
from retune.evaluation.calibration_error import root
from retune.evaluation.dev_metrics import LITTLE
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from retune.params import Params

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 100.0
"""Limits of the temperature: rows that are separated without error would drive it to 0, random answers to infinity."""

OTHER_RULE = "calibration.threshold: accuracy asks for more right answers"
"""What may help where the threshold for F1 answers 1 to nearly every row."""


def log_odds(prob_0: Floats, prob_1: Floats) -> Floats:
    """log(p_1 / p_0), [n]; probabilities below 1e-15 count as 1e-15."""
    return np.log(np.maximum(prob_1, 1e-15)) - np.log(np.maximum(prob_0, 1e-15))


def calibrated(odds: Floats, temperature: float) -> Floats:
    """Probability of the label 1 from log odds, [n]."""
    shrunk = np.exp(-np.abs(odds) / temperature)  # in (0, 1], so nothing overflows
    return np.where(odds >= 0, 1.0, shrunk) / (1.0 + shrunk)


def fit_temperature(labels: Integers, odds: Floats) -> float:
    """Find the temperature of least negative log-likelihood (Guo et al. 2017), within its limits."""
    return best_temperature(lambda temperature: float(np.sum((calibrated(odds, temperature) - labels) * odds)) > 0)


def best_temperature(too_cold: Callable[[float], bool]) -> float:
    """Find the optimum within the limits; `too_cold(temperature)` is the sign of the slope there.

    The likelihood is log-concave in 1/T, so the sign tells the side of the optimum: bisection in log T.
    """
    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    if not too_cold(MIN_TEMPERATURE):
        return MIN_TEMPERATURE
    if too_cold(MAX_TEMPERATURE):
        return MAX_TEMPERATURE
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if too_cold(float(np.exp(middle))) else (low, middle)
    return float(np.exp((low + high) / 2))


def at_limit(temperature: float, uninformative: str = "the probabilities say little") -> list[str]:
    """A sentence where a temperature lies at one of its limits; `uninformative` is why it is at the upper one."""
    if temperature not in (MIN_TEMPERATURE, MAX_TEMPERATURE):
        return []
    why = "no wrong answer holds it back" if temperature == MIN_TEMPERATURE else uninformative
    return [f"The temperature stops at its limit {temperature:g}: {why}."]


def best_threshold(
    labels: Integers,
    probabilities: Floats,
    rule: str,
    cost_false_positive: float = 1.0,
    cost_false_negative: float = 1.0,
) -> float:
    """Find the threshold of highest F1 or accuracy, or of least cost, over all thresholds that decide differently.

    Between two neighbouring probabilities (0 and 1 included) all thresholds decide alike. Of neighbouring gaps that are
    equally good the middle of their union is taken, of several such plateaus the widest, then the one nearest to 0.5,
    then the lowest. To answer 0 to a probability of exactly 1, the threshold is the next number above 1.
    """
    values, level = np.unique(probabilities, return_inverse=True)
    positive = np.bincount(level, weights=labels, minlength=len(values))
    negative = np.bincount(level, weights=1 - labels, minlength=len(values))
    # Gap i lies below values[i]: there, the levels i and above are answered 1. [L + 1]
    tp = np.append(np.cumsum(positive[::-1])[::-1], 0.0)
    fp = np.append(np.cumsum(negative[::-1])[::-1], 0.0)
    fn, tn = positive.sum() - tp, negative.sum() - fp
    if rule == "f1":
        score = 2 * tp / (2 * tp + fp + fn)
    elif rule == "accuracy":
        score = tp + tn
    else:
        score = -(cost_false_positive * fp + cost_false_negative * fn)
    best = score >= score.max() - 1e-12 * max(1.0, abs(score.max()))
    edges = np.concatenate([[0.0], values, [1.0]])
    starts = np.flatnonzero(best & ~np.concatenate([[False], best[:-1]]))
    ends = np.flatnonzero(best & ~np.concatenate([best[1:], [False]])) + 1
    low, high = edges[starts], edges[ends]
    middle = (low + high) / 2
    choice = np.lexsort((middle, np.abs(middle - 0.5), low - high))[0]
    if ends[choice] == len(values) + 1 and low[choice] == 1.0:
        return float(np.nextafter(1.0, 2.0))
    # (low, high] decides alike; the middle of neighbouring floats may round to the excluded end.
    return float(middle[choice]) if middle[choice] > low[choice] or starts[choice] == 0 else float(high[choice])


def unfitted(answered: int, rows: int) -> dict[str, Any]:
    """The temperature 1 of a model that answered too few of its calibration rows, with the reason."""
    nothing: dict[str, float | None] = {
        "nll": None,
        "brier": None,
        "calibration_error": None,
        "f1": None,
        "accuracy": None,
    }
    return {
        "temperature": 1.0,
        "rows": answered,
        "before": nothing,
        "after": nothing,
        "messages": [f"Only {answered} of {rows} calibration rows have an answer: nothing could be fitted to them."],
    }


def calibrate(
    labels: Integers, prob_0: Floats, prob_1: Floats, spec: Params, groups: Integers | None = None
) -> dict[str, Any]:
    """Fit what `spec` (the task's `calibration` section) asks for on answered rows [n], and measure before and after.

    Returns threshold, rule, temperature, rows, before and after (nll, brier, calibration_error, and f1, accuracy at
    0.5 or at the threshold) and messages (plain sentences). Raises `RetuneError` unless both labels occur.
    """
    if len(np.unique(labels)) < 2:
        found = f"all {len(labels)} have label {labels[0]}" if len(labels) else "there is none"
        raise RetuneError(
            f"threshold and temperature need calibration rows of both labels that the model answered, but {found}; "
            "raise `split.calibration` or add rows"
        )
    odds = log_odds(prob_0, prob_1)
    temperature = fit_temperature(labels, odds) if spec.temperature else 1.0
    messages = at_limit(temperature, "the probabilities say little about the labels")
    after = calibrated(odds, temperature)
    costs = (spec.cost_false_positive, spec.cost_false_negative) if spec.threshold == "cost" else ()
    threshold = best_threshold(labels, after, spec.threshold, *costs)
    decisions = (after >= threshold).astype(np.int64)
    if decisions.min() == decisions.max():
        helps = "" if spec.threshold == "accuracy" else f"; {OTHER_RULE}"
        messages.append(
            f"The best threshold for {spec.threshold} answers {decisions[0]} to every calibration row: "
            f"the probabilities do not separate the labels better than that{helps}."
        )
    before, quality = calibrated(odds, 1.0), _quality(BinaryAnswers(labels, decisions, after, groups))
    always = float(2 * labels.mean() / (1 + labels.mean()))
    if spec.threshold == "f1" and decisions.min() < decisions.max() and quality["f1"] - always < LITTLE * (1 - always):
        messages.append(
            f"The best threshold for f1 has an F1 of {quality['f1']:.3f} on the calibration rows, hardly above 1 as "
            f"the answer to every row ({always:.3f}), and is right in {quality['accuracy']:.3f} of them; {OTHER_RULE}."
        )
    return {
        "threshold": threshold,
        "rule": spec.threshold,
        "temperature": temperature,
        "rows": len(labels),
        "before": _quality(BinaryAnswers(labels, (before >= 0.5).astype(np.int64), before, groups)),
        "after": quality,
        "messages": messages,
    }


def _quality(answers: BinaryAnswers) -> dict[str, float]:
    ones = np.ones(len(answers.labels))
    labels, probabilities = answers.labels, answers.probabilities
    found = measure(answers, ones)
    return {
        "nll": float(nll(labels, probabilities, ones)),
        "brier": float(brier(labels, probabilities, ones)),
        "calibration_error": float(root(found["calibration_error"])),
        "f1": float(found["f1"]),
        "accuracy": float(found["accuracy"]),
    }
