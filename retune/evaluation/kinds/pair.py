"""Measures of kind `pair`: decisions by a threshold on the calibrated probability of label 1.

An unparsed answer (null probabilities) is a wrong one, as sure of itself as can be: its decision is the other label,
with probability 1. So every metric, AUC and Brier included, is a lower bound of what parsing it could give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.evaluation import binary_metrics, calibration, groups
from retune.evaluation.binary_metrics import BinaryAnswers
from retune.evaluation.calibration import calibrated, log_odds
from retune.evaluation.measure import ERROR, SHARE, Measure
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from collections.abc import Collection

    from retune.params import Params


def columns(spec: Params, given: Collection[str] = ()) -> tuple[str, ...]:
    """Both probabilities."""
    return ("prob_0", "prob_1")


def calibrate(joined: pl.DataFrame, spec: Params) -> dict[str, Any]:
    """Temperature and threshold; see `retune.evaluation.calibration.calibrate`.

    Where the model's own silence is what leaves rows of one label only, they are 1 and 0.5, and a message says so.
    """
    seen = joined.filter("parsed")
    if seen["label"].n_unique() < 2 <= joined["label"].n_unique():
        return {"threshold": 0.5, "rule": "not fitted", **calibration.unfitted(len(seen), len(joined))}
    labels = seen["label"].to_numpy().astype(np.int64)
    first, second = (seen[name].to_numpy() for name in ("prob_0", "prob_1"))
    return calibration.calibrate(labels, first, second, spec, groups.codes(seen["group"]))


def answers(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> BinaryAnswers:
    """Calibrated probabilities and decisions of joined rows [n]; an unparsed row is wrong with probability 1."""
    return decided(joined, fitted["temperature"], fitted["threshold"])


def decided(joined: pl.DataFrame, temperature: float, cut: float) -> BinaryAnswers:
    """The answers at a temperature and a threshold."""
    labels = joined["label"].to_numpy().astype(np.int64)
    first, second = (joined[name].fill_null(0.5).to_numpy() for name in ("prob_0", "prob_1"))
    probabilities: Floats = calibrated(log_odds(first, second), temperature)
    seen = joined["parsed"].to_numpy()
    probabilities = np.where(seen, probabilities, 1.0 - labels)
    decisions = np.where(seen, probabilities >= cut, 1 - labels).astype(np.int64)
    return BinaryAnswers(labels, decisions, probabilities, groups.codes(joined["group"]))


def order(given: BinaryAnswers) -> Integers:
    """By probability: AUC and average precision then sort nothing."""
    return np.argsort(given.probabilities, kind="stable")


SHARES = ("f1", "accuracy", "macro_f1", "precision", "recall", "auc", "average_precision")
MEASURE = Measure(
    binary_metrics.METRICS,
    binary_metrics.measure,
    order,
    squares=("calibration_error",),
    ranges=dict.fromkeys(SHARES, SHARE) | {"brier": ERROR},
)


def constant_baseline(given: BinaryAnswers) -> BinaryAnswers:
    """Answer every row [n] with the more frequent label (0 in a tie), and with the share of label 1 as probability."""
    labels = given.labels
    share = float(labels.mean())
    return given._replace(decisions=np.full_like(labels, int(share > 0.5)), probabilities=np.full(len(labels), share))


def coverage(given: BinaryAnswers) -> dict[str, int]:
    """Every row counts."""
    return {}


def cautions(given: BinaryAnswers, spec: Params) -> list[str]:
    """Nothing is left out."""
    return []


def wins(a: BinaryAnswers, b: BinaryAnswers) -> tuple[int, int, float]:
    """Rows that only a decides right, rows that only b does, share of equal decisions."""
    a_right, b_right = a.decisions == a.labels, b.decisions == b.labels
    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    return only_a, only_b, float(np.mean(a.decisions == b.decisions))


def disagreements(joined: dict[str, pl.DataFrame], models: dict[str, BinaryAnswers]) -> pl.DataFrame:
    """List the rows that not all models decide alike, most disputed first.

    Columns: id, text_a, text_b, label, then for each model `MODEL.prob_1` (calibrated) and `MODEL.decision`, both null
    where its answer was not parsed. Sorted by the range of the probabilities, ties by id.
    """
    shown = []
    for name, given in models.items():
        answered = pl.Series(given.decisions, dtype=pl.Int8)
        for what, values in (("prob_1", pl.Series(given.probabilities)), ("decision", answered)):
            shown.append(pl.when(joined[name]["parsed"]).then(values).alias(f"{name}.{what}"))
    probabilities = np.stack([given.probabilities for given in models.values()])
    decisions = np.stack([given.decisions for given in models.values()])
    table = next(iter(joined.values())).select("id", "text_a", "text_b", "label")
    return (
        table.with_columns(shown)
        .with_columns(_range=pl.Series(np.ptp(probabilities, axis=0)))
        .filter(pl.Series(np.ptp(decisions, axis=0) > 0))
        .sort("_range", "id", descending=[True, False])
        .drop("_range")
    )
