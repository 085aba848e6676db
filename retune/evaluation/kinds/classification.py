"""Measures of kind `classification`: the likeliest label, its calibrated probability, and what is mistaken for what.

An unparsed answer (null probabilities) is a wrong one, as sure of itself as can be: it decides no label, its confidence
is 1, and its probabilities lie on another label than the gold one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels as names
from retune.evaluation import groups, multiclass_metrics
from retune.evaluation.calibration import at_limit, best_temperature, unfitted
from retune.evaluation.calibration_error import root, squared
from retune.evaluation.measure import ERROR, SHARE, Measure
from retune.evaluation.multiclass_metrics import ClassAnswers, thirds
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from collections.abc import Collection

    from retune.params import Params


def columns(spec: Params, given: Collection[str] = ()) -> tuple[str, ...]:
    """The probability of every label."""
    return names.names(len(spec.labels))


def calibrate(joined: pl.DataFrame, spec: Params) -> dict[str, Any]:
    """Fit the temperature on the rows that the model answered; returns it, rows, before and after, and messages.

    Where it answered none, the temperature is 1, and a message says so.
    """
    seen = joined.filter("parsed")
    if seen.is_empty():
        return unfitted(0, len(joined))
    logs, gold = log_probs(seen, len(spec.labels)), names.codes(seen["label"], spec.labels)
    temperature = fit_temperature(logs, gold) if spec.temperature else 1.0
    return {
        "temperature": temperature,
        "rows": len(seen),
        "before": _quality(logs, gold, groups.codes(seen["group"])),
        "after": _quality(temperature_scaled(logs, temperature), gold, groups.codes(seen["group"])),
        "messages": at_limit(temperature),
    }


def _quality(logs: Floats, gold: Integers, group_of: Integers) -> dict[str, float]:
    """Mean negative log-likelihood in nats, calibration error and accuracy."""
    ones, best = np.ones(len(gold)), logs.argmax(1)
    right = (best == gold).astype(np.int64)
    return {
        "nll": float(-logs[np.arange(len(gold)), gold].mean()),
        "calibration_error": float(root(squared(right, np.exp(logs.max(1)), group_of, ones))),
        "accuracy": float(right.mean()),
    }


def log_probs(joined: pl.DataFrame, count: int) -> Floats:
    """Log-probabilities [n, K] of `count` labels in joined rows, at least log 1e-15; an unparsed row is uniform."""
    table = joined.select(pl.col(names.names(count)).fill_null(1 / count)).to_numpy().astype(np.float64)
    return np.log(np.maximum(table, 1e-15))


def temperature_scaled(logs: Floats, temperature: float) -> Floats:
    """Log-probabilities at a temperature, normalised again [n, K]."""
    return names.log_softmax(logs / temperature)


def fit_temperature(logs: Floats, gold: Integers) -> float:
    """Find the temperature of least negative log-likelihood (Guo et al. 2017), within its limits."""
    rows = np.arange(len(gold))

    def too_cold(temperature: float) -> bool:
        probabilities = np.exp(temperature_scaled(logs, temperature))
        return float(((probabilities * logs).sum(1) - logs[rows, gold]).sum()) > 0

    return best_temperature(too_cold)


def answers(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> ClassAnswers:
    """Decisions, ranks and confidences of joined rows [n]; equal probabilities rank by the order of labels."""
    logs = temperature_scaled(log_probs(joined, len(spec.labels)), fitted["temperature"])
    gold, seen = names.codes(joined["label"], spec.labels), joined["parsed"].to_numpy()
    trained = splits["splits"]["train"]["targets"]
    third_of = thirds([trained.get(label, 0) for label in spec.labels])
    return answered(logs, gold, seen, third_of, groups.codes(joined["group"]))


def answered(
    logs: Floats, gold: Integers, seen: np.ndarray, third_of: Integers, group_of: Integers | None = None
) -> ClassAnswers:
    """The answers of log-probabilities [n, K] to gold classes [n]; `seen` [n] is false where there is no answer."""
    rows, count = np.arange(len(gold)), logs.shape[1]
    order = np.argsort(-logs, axis=1, kind="stable")
    ranks = (order == gold[:, None]).argmax(1)
    probabilities = np.exp(logs)
    gaps = probabilities.copy()
    gaps[rows, gold] -= 1.0
    return ClassAnswers(
        gold,
        np.where(seen, order[:, 0], -1),
        np.where(seen, ranks, count),
        np.where(seen, probabilities.max(1), 1.0),
        np.where(seen, (gaps**2).sum(1), 2.0),
        third_of,
        group_of,
    )


def order(given: ClassAnswers) -> Integers:
    """By gold class: its rows then stand together."""
    return np.argsort(given.labels, kind="stable")


SHARES = ("accuracy", "weighted_f1", "top3", "top5", "head_f1", "middle_f1")
"""Not the means over rare classes, of which percentiles hold the truth as often or more (benchmarks/intervals.py)."""
MEASURE = Measure(
    multiclass_metrics.METRICS,
    multiclass_metrics.measure,
    order,
    squares=("calibration_error",),
    ranges=dict.fromkeys(SHARES, SHARE) | {"brier": ERROR},
)


def constant_baseline(given: ClassAnswers) -> ClassAnswers:
    """Answer every row with the most frequent label, and with the frequencies as probabilities."""
    frequencies = np.bincount(given.labels, minlength=len(given.thirds)) / len(given.labels)
    logs = np.log(np.maximum(np.tile(frequencies, (len(given.labels), 1)), 1e-15))
    return answered(logs, given.labels, np.ones(len(given.labels), dtype=bool), given.thirds, given.groups)


def coverage(given: ClassAnswers) -> dict[str, int]:
    """Every row counts."""
    return {}


def cautions(given: ClassAnswers, spec: Params) -> list[str]:
    """Nothing is left out."""
    return []


def wins(a: ClassAnswers, b: ClassAnswers) -> tuple[int, int, float]:
    """Rows that only a decides right, rows that only b does, share of equal decisions."""
    a_right, b_right = a.decisions == a.labels, b.decisions == b.labels
    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    return only_a, only_b, float(np.mean(a.decisions == b.decisions))


def disagreements(joined: dict[str, pl.DataFrame], models: dict[str, ClassAnswers]) -> pl.DataFrame:
    """List the rows that not all models decide alike, first those on which most models differ from one another.

    Columns: id, text, label, then for each model `MODEL.decision` (the code of the label, null where unparsed) and
    `MODEL.confidence`. Sorted by the number of different decisions, ties by id.
    """
    decisions = np.stack([given.decisions for given in models.values()])
    different = np.array([len(set(column)) for column in decisions.T.tolist()], dtype=np.int64)
    table = next(iter(joined.values())).select("id", "text", pl.col("label").cast(pl.String))
    shown = []
    for name, given in models.items():
        for what, values in (("decision", pl.Series(given.decisions)), ("confidence", pl.Series(given.confidences))):
            shown.append(pl.when(joined[name]["parsed"]).then(values).alias(f"{name}.{what}"))
    return (
        table.with_columns(shown)
        .with_columns(_different=pl.Series(different))
        .filter(pl.col("_different") > 1)
        .sort("_different", "id", descending=[True, False])
        .drop("_different")
    )
