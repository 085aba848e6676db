"""How consistent scores are: across dimensions, over repeated sampling, and in their distribution."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from retune.evaluation.intervals import finite
from retune.evaluation.score_metrics import ScoreAnswers, correlation, rounded
from retune.evaluation.weighted import Floats

FEWEST = 3
"""Documents that two dimensions must share, for their correlation to be reported."""


def write(path: Path, joined: pl.DataFrame, given: ScoreAnswers, dimensions: list[str]) -> None:
    """Write correlations, spread and repeats as JSON."""
    found = {
        "correlations": correlations(joined["document"], given, dimensions),
        "spread": spread(given, dimensions),
        "repeats": repeats(joined, given),
    }
    path.write_text(json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def correlations(documents: pl.Series, given: ScoreAnswers, dimensions: list[str]) -> dict[str, Any]:
    """Pearson's correlation between the dimensions of a document: `gold` and `predicted` [D, D], on the same rows.

    A cell is null where fewer than `FEWEST` documents have both dimensions, or one does not vary. `documents` counts
    those; `mean_gold`, `mean_predicted` and `gap` (mean absolute difference) are over the pairs that have both. A model
    whose predicted correlations lie above the gold ones scores documents as a whole (a halo effect).
    """
    codes = sorted(set(given.dimensions.tolist()))
    table = pl.DataFrame(
        {"document": documents, "code": given.dimensions, "gold": given.gold, "predicted": given.estimates}
    ).filter(pl.Series(given.seen))
    cells = table.group_by("document", "code").agg(pl.col("gold", "predicted").mean()).sort("document", "code")
    rows = cells["document"].rank("dense").cast(pl.Int64).to_numpy() - 1
    values = {name: np.full((rows.max(initial=-1) + 1, len(dimensions)), np.nan) for name in ("gold", "predicted")}
    for name, matrix in values.items():
        matrix[rows, cells["code"].to_numpy()] = cells[name].to_numpy()
    result: dict[str, Any] = {"dimensions": [dimensions[code] for code in codes]}
    found = {name: _matrix(matrix, codes) for name, matrix in values.items()}
    result |= {name: [[finite(value) for value in row] for row in matrix] for name, matrix in found.items()}
    result["documents"] = len(values["gold"])
    upper = [(i, j) for i, j in itertools.combinations(range(len(codes)), 2)]
    pairs = np.array([(found["gold"][i, j], found["predicted"][i, j]) for i, j in upper]).reshape(-1, 2)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if len(pairs):
        result["mean_gold"], result["mean_predicted"] = (float(value) for value in pairs.mean(0))
        result["gap"] = float(np.abs(pairs[:, 0] - pairs[:, 1]).mean())
    return result


def _matrix(values: Floats, codes: list[int]) -> Floats:
    """Correlations [D, D] of the columns `codes` of values [documents, dimensions], over the rows that have both."""
    matrix = np.full((len(codes), len(codes)), np.nan)
    for (i, a), (j, b) in itertools.product(enumerate(codes), repeat=2):
        both = values[~np.isnan(values[:, [a, b]]).any(axis=1)]
        if len(both) >= FEWEST:
            matrix[i, j] = float(correlation(both[:, a], both[:, b], np.ones(len(both))))
    return matrix


def spread(given: ScoreAnswers, dimensions: list[str]) -> list[dict[str, Any]]:
    """Where the scores of each dimension lie, gold and predicted: means, standard deviations, and their distance.

    `distance` is the total variation of the distributions of whole scores: 0 the same, 1 no score in common. Rows
    without an answer are left out.
    """
    rows = []
    for code, name in enumerate(dimensions):
        part = given.take(np.flatnonzero((given.dimensions == code) & given.seen))
        if not len(part.gold):
            continue
        gold, predicted = (_shares(values, part.limits) for values in (part.gold, part.estimates))
        rows.append(
            {
                "dimension": name,
                "rows": len(part.gold),
                "mean_gold": float(part.gold.mean()),
                "mean_predicted": float(part.estimates.mean()),
                "deviation_gold": float(part.gold.std()),
                "deviation_predicted": float(part.estimates.std()),
                "distance": float(np.abs(gold - predicted).sum() / 2),
            }
        )
    return rows


def distribution(given: ScoreAnswers) -> pl.DataFrame:
    """A row for each score: x (the score), y (share of the rounded estimates), gold (share of the gold scores)."""
    part = given.take(np.flatnonzero(given.seen))
    x = np.arange(given.limits[0], given.limits[1] + 1)
    return pl.DataFrame({"x": x, "y": _shares(part.estimates, given.limits), "gold": _shares(given.gold, given.limits)})


def _shares(values: Floats, limits: tuple[int, int]) -> Floats:
    """The share of each whole score [K]."""
    codes = (rounded(values, limits) - limits[0]).astype(np.int64)
    counts = np.bincount(codes, minlength=limits[1] - limits[0] + 1).astype(np.float64)
    shares: Floats = counts / max(len(values), 1)
    return shares


def repeats(joined: pl.DataFrame, given: ScoreAnswers) -> dict[str, Any] | None:
    """How much the scores of the same row vary when its answer is sampled again; None where none was.

    Over the rows with at least two parsed answers: `variance` (unbiased, mean of the rows) and `deviation` (its root),
    `range` (mean), `same` (share of rows whose whole scores all agree), `mae_mean` and `mae_decision` (the mean of the
    samples, and the decision itself, against the gold score of these rows). `unparsed` is the share of all samples.
    """
    if "samples" not in joined.columns or joined["samples"].null_count() == len(joined):
        return None
    drawn = [(place, values) for place, values in enumerate(joined["samples"].to_list()) if values is not None]
    parsed = [(place, np.array([float(v) for v in values if v is not None])) for place, values in drawn]
    many = [(place, values) for place, values in parsed if len(values) > 1]
    asked = sum(len(values) for _, values in drawn)
    result: dict[str, Any] = {
        "rows": len(drawn),
        "samples": max(len(values) for _, values in drawn),
        "unparsed": 1 - sum(len(values) for _, values in parsed) / max(asked, 1),
        "measured": len(many),
    }
    if many:
        places = np.array([place for place, _ in many])
        variance = float(np.mean([values.var(ddof=1) for _, values in many]))
        gold = given.gold[places]
        result |= {
            "variance": variance,
            "deviation": float(np.sqrt(variance)),
            "range": float(np.mean([np.ptp(values) for _, values in many])),
            "same": float(np.mean([len(set(rounded(values, given.limits))) == 1 for _, values in many])),
            "mae_mean": float(np.abs(np.array([values.mean() for _, values in many]) - gold).mean()),
            "mae_decision": float(np.abs(given.estimates[places] - gold).mean()),
        }
    return result


def votes(joined: pl.DataFrame, gold: str) -> dict[str, Any] | None:
    """The same for labels, of column `gold`: how often the samples of a row agree; None where none was drawn.

    `agreement` is the mean share of a row's parsed answers that give its most frequent label, `same` the share of rows
    in which all do, `accuracy` that of the most frequent label (the earlier one of equals; a row without one is wrong).
    """
    if "samples" not in joined.columns or joined["samples"].null_count() == len(joined):
        return None
    table = joined.filter(pl.col("samples").is_not_null()).select(gold, "samples")
    drawn = [[str(v) for v in values if v is not None] for values in table["samples"].to_list()]
    asked = sum(len(values) for values in table["samples"].to_list())
    tops = [max(values, key=values.count) if values else None for values in drawn]
    shares = [values.count(top) / len(values) for values, top in zip(drawn, tops, strict=True) if top is not None]
    right = [top == str(label) for top, label in zip(tops, table[gold], strict=True)]
    return {
        "rows": len(table),
        "samples": max(len(values) for values in table["samples"].to_list()),
        "unparsed": 1 - sum(map(len, drawn)) / max(asked, 1),
        "agreement": float(np.mean(shares)) if shares else None,
        "same": float(np.mean([share == 1 for share in shares])) if shares else None,
        "accuracy": float(np.mean(right)),
    }
