"""Which answers a model keeps to itself: those whose decided label has a low calibrated probability (Chow 1970).

The threshold is fitted on the calibration rows, by one of two promises (`abstain` of a task):

`coverage`: so many of new rows are answered, on average over calibration splits. It is the quantile of split conformal
prediction (Papadopoulos et al. 2002), whose rows come in groups as in Lee, Barber and Willett 2023: the calibration
rows below the threshold are at most the share 1 - c - c/groups.

`error`: at most this share of the answered rows is wrong, in `confidence` of the calibration splits. The lowest
threshold is taken whose upper bound by Clopper and Pearson (1934) is no higher, as in Geifman and El-Yaniv 2017
("Selective classification for deep neural networks"), but over `SHARES`, fixed beforehand, among which the doubt is
divided: given the threshold, the rows above it are a sample of all that are above it, so each bound holds by itself.
Rows of one group count as much as in the worst case that all of them are right or wrong together (Kish 1965).

`none_of_these` is a share of false alarms: a text whose confidence is lower than that of so few calibration rows is
said to be of none of the labels. That is the promise of coverage again, by a conformal p (Bates et al. 2023).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from retune.data import labels
from retune.evaluation import groups, readings
from retune.evaluation.decided import confidences, decided
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from retune.params import Params

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of the rows, the surest, of which each is tried as those that are answered."""

NEVER = float(np.nextafter(1.0, 2.0))
"""A threshold that no probability reaches."""

SILENT = -1.0
"""The confidence of an answer that names no label: it is kept at no threshold."""


class Decisions(NamedTuple):
    """Of n rows: the confidence (probability of the decided label, or `SILENT`), whether it is wrong, the group."""

    confidences: Floats
    wrong: Integers
    groups: Integers


def decisions(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params) -> Decisions:
    """The decisions of joined rows (retune.evaluation.predictions.join); `spec.labels` are in the order of training."""
    columns = labels.names(len(spec.labels))
    table = joined.select(pl.col(columns).fill_null(1 / len(columns))).to_numpy().astype(np.float64)
    probabilities, codes = decided(table, fitted)
    seen = joined["parsed"].to_numpy()
    wrong = ~seen | (codes != labels.codes(joined["label"], spec.labels))
    sure = np.where(seen, confidences(probabilities, codes), SILENT)
    return Decisions(sure, wrong.astype(np.int64), groups.codes(joined["group"]))


def calibrate(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params) -> dict[str, Any]:
    """What `spec.abstain` adds to `fitted` on the calibration rows; nothing where the task has none.

    abstain_below (a row with less confidence is not answered), none_below (one with less is of none of the labels) if
    asked for, abstention (what was promised, and how it is on these rows), and messages with those of `fitted`. Of a
    model that thinks also `direct`, with the same of what it says without.
    """
    if "abstain" not in spec:
        return {}
    found = _fitted(decisions(joined, fitted, spec), spec.abstain)
    result = found | {"messages": [*fitted["messages"], *found["messages"]]}
    if "direct" in fitted:
        rows = readings.of(joined, "direct", spec.labels)
        result["direct"] = fitted["direct"] | _fitted(decisions(rows, fitted["direct"], spec), spec.abstain)
    return result


def _fitted(given: Decisions, asked: Params) -> dict[str, Any]:
    count = len(np.unique(given.groups))
    found: dict[str, float] = {}
    promised: dict[str, Any] = {key: value for key, value in asked.items() if key != "confidence"}
    messages: list[str] = []
    if "none_of_these" in asked:
        found["none_below"] = coverage_threshold(given.confidences, 1 - asked.none_of_these, count)
        messages += _trivial(given, found["none_below"], "none_of_these", asked.none_of_these, asked.none_of_these)
    below = found.get("none_below", 0.0)
    if "coverage" in asked:
        below = max(below, coverage_threshold(given.confidences, asked.coverage, count))
        messages += _trivial(given, below, "coverage", asked.coverage, 1 - asked.coverage)
    if "error" in asked:
        enough, bound = error_threshold(given, asked.error, asked.confidence)
        below, promised = max(below, enough), promised | {"confidence": asked.confidence, "bound": bound}
        messages += [_unmet(given, asked, bound)] if enough == NEVER else []
    kept = given.confidences >= below
    measured = {
        "rows": len(kept),
        "groups": count,
        "answered": float(kept.mean()),
        "wrong": float(given.wrong[kept].mean()) if kept.any() else None,
    }
    return {"abstain_below": below, **found, "abstention": {"promised": promised, **measured}, "messages": messages}


def coverage_threshold(confidences_: Floats, coverage: float, count: int) -> float:
    """The confidence [n] from which on a row of `count` groups is answered, so that a share `coverage` of new ones is.

    In the middle between the last row that is left out and the next; 0 where none can be.
    """
    ordered = np.sort(confidences_)
    below = math.floor(len(ordered) * (1 - coverage - coverage / count) + 1e-9)
    if below < 0 or ordered[below] == SILENT:
        return 0.0
    left_out = ordered[(ordered < ordered[below]) & (ordered != SILENT)]
    return float((left_out[-1] + ordered[below]) / 2) if len(left_out) else float(ordered[below])


def error_threshold(given: Decisions, error: float, confidence: float) -> tuple[float, float]:
    """The threshold of the most rows whose upper bound is at most `error`, and the bound; `NEVER` and the least one."""
    ordered, least = np.sort(given.confidences), 1.0
    for share in SHARES:
        out = len(ordered) - round(share * len(ordered))
        below = max(0.0, float(np.nextafter(ordered[out - 1], 2.0))) if out else 0.0
        kept = given.confidences >= below
        bound = upper_bound(given.wrong[kept], given.groups[kept], (1 - confidence) / len(SHARES))
        if bound <= error:
            return below, bound
        least = min(least, bound)
    return NEVER, least


def upper_bound(wrong: Integers, of: Integers, doubt: float) -> float:
    """The share that is wrong is at most this, but for a chance `doubt`; of rows [n] in groups `of` [n].

    Clopper and Pearson, of as many independent rows as these are worth: n^2 / sum of the squares of the groups' sizes.
    """
    if not len(wrong):
        return 1.0
    sizes = np.bincount(of).astype(np.float64)
    worth = math.floor(sizes.sum() ** 2 / (sizes**2).sum() + 1e-9)
    found = math.ceil(float(wrong.mean()) * worth - 1e-9)
    if found >= worth:
        return 1.0
    k = np.arange(1, found + 1)
    ways = np.append(0.0, np.cumsum(np.log(worth - k + 1) - np.log(k)))  # log of the binomial coefficients
    k = np.arange(found + 1)
    low, high = 0.0, 1.0
    for _ in range(60):
        chance = (low + high) / 2
        at_most = np.exp(ways + k * math.log(chance) + (worth - k) * math.log1p(-chance)).sum()
        low, high = (chance, high) if at_most > doubt else (low, chance)
    return high


def _trivial(given: Decisions, below: float, key: str, value: float, out: float) -> list[str]:
    """A sentence where a threshold leaves nothing out."""
    if below or not out:
        return []
    count, silent = len(np.unique(given.groups)), float((given.confidences == SILENT).mean())
    if silent > out:
        return [f"abstain.{key}: {value:g} can't be kept: {silent:.3g} of the calibration rows have no answer at all."]
    return [
        f"abstain.{key}: {value:g} leaves nothing out: it takes {math.ceil((1 - out) / out - 1e-9)} groups of "
        f"calibration rows to promise it, and there are {count}; raise split.calibration."
    ]


def _unmet(given: Decisions, asked: Params, bound: float) -> str:
    return (
        f"No threshold keeps the share of wrong answers below {asked.error:g} with a confidence of "
        f"{asked.confidence:g}, so nothing is answered: the least upper bound is {bound:.3g}, on {len(given.wrong)} "
        f"calibration rows of {len(np.unique(given.groups))} groups; raise abstain.error, or split.calibration."
    )
