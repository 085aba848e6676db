"""How the scores of each dimension are spread, from the counts of the targets `DIMENSION:SCORE` (kind `scoring`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from retune.params import Params

Counts = dict[str, dict[str, dict[str, int]]]


def order(spec: Params) -> list[str]:
    """Every target, dimension by dimension, lowest score first; empty for a kind without dimensions."""
    if "dimensions" not in spec:
        return []
    return [f"{dimension}:{score}" for dimension in spec.dimensions for score in _scores(spec)]


def histograms(targets: Counts, spec: Params) -> dict[str, dict[str, Any]]:
    """Dimension -> by split rows, mean and deviation, and the histogram of its scores (as in lengths)."""
    found = {}
    for dimension in spec.get("dimensions", {}):
        rows = {split: [_rows(counts, dimension, s) for s in _scores(spec)] for split, counts in targets.items()}
        found[dimension] = {
            "splits": {split: _summary(np.array(counts), np.array(_scores(spec))) for split, counts in rows.items()},
            "histogram": {
                "start": spec.scores[0],
                "width": 1,
                "shares": {split: [round(n / max(sum(c), 1), 6) for n in c] for split, c in rows.items()},
            },
        }
    return found


def _scores(spec: Params) -> list[int]:
    return list(range(spec.scores[0], spec.scores[1] + 1))


def _rows(counts: dict[str, dict[str, int]], dimension: str, score: int) -> int:
    return counts.get(f"{dimension}:{score}", {"rows": 0})["rows"]


def _summary(rows: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """Rows, mean and standard deviation of the scores; null without rows."""
    if not rows.sum():
        return {"rows": 0, "mean": None, "deviation": None}
    mean = float(np.average(scores, weights=rows))
    deviation = float(np.sqrt(np.average((scores - mean) ** 2, weights=rows)))
    return {"rows": int(rows.sum()), "mean": round(mean, 4), "deviation": round(deviation, 4)}
