"""One model's metrics with their intervals, as numbers for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from retune.evaluation.bootstrap import informative, interval, replicates, t_interval
from retune.evaluation.measure import A, Measure
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from retune.params import Params


def metrics_with_intervals(measure: Measure[A], answers: A, groups: Integers, spec: Params) -> dict[str, Any]:
    """{metric: {value, low, high}} in the order of the report, from `spec.bootstrap` resamples of the groups [n]."""
    replicated = replicates(measure, [answers], groups, spec.bootstrap, spec.seed)[0]
    return summarise(measure, answers, groups, replicated, spec.confidence)


def summarise(
    measure: Measure[A], answers: A, groups: Integers, replicated: dict[str, Floats], confidence: float
) -> dict[str, Any]:
    """{metric: {value, low, high}} from replicates [B]; null where a metric has no meaning.

    `undefined` counts the resamples that the interval had to leave out, if there are any.
    """
    values, known = point(measure, answers), informative(measure, answers, groups)
    summary: dict[str, Any] = {}
    for metric in measure.metrics:
        drawn, limits = replicated[metric], measure.ranges.get(metric)
        if limits:
            span = t_interval(values[metric], drawn, confidence, known[metric], limits)
        else:
            span = interval(drawn, confidence, known[metric])
        low, high = span or (None, None)
        summary[metric] = {"value": finite(values[metric]), "low": low, "high": high}
        if undefined := int(np.isnan(replicated[metric]).sum()):
            summary[metric]["undefined"] = undefined
    return summary


def point(measure: Measure[A], answers: A) -> dict[str, float]:
    """Every metric on all rows, each once, as it is reported."""
    found = measure.values(answers, np.ones(len(measure.order(answers))))
    return {metric: float(measure.shown(metric, value)) for metric, value in found.items()}


def finite(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return None if np.isnan(value) else value
