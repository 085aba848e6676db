"""Details of kind `scoring`: dimensions, what is taken for what, the worst errors, consistency, estimates, reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.evaluation import reading_metrics, reasons, self_consistency
from retune.evaluation.groups import codes
from retune.evaluation.intervals import metrics_with_intervals
from retune.evaluation.kinds.scoring import MEASURE, SAME, answers, has_probabilities
from retune.evaluation.score_estimates import RULES
from retune.evaluation.score_metrics import METRICS, ScoreAnswers, measure, rounded

if TYPE_CHECKING:
    from retune.params import Params


def write(folder: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> None:
    """Write the dimensions, what is taken for what, the worst errors, and how consistent the scores are."""
    given = answers(joined, fitted, spec, splits)
    plots, details = folder / "plots", folder / "details"
    by_dimension(given, list(spec.dimensions)).write_csv(details / "dimensions.csv")
    confusion(given).write_csv(details / "confusion.csv")
    worst_errors(joined, given, spec.errors).write_parquet(details / "errors.parquet")
    by_estimate(given).write_csv(plots / "gold_by_estimate.csv")
    self_consistency.distribution(given).write_csv(plots / "score_distribution.csv")
    self_consistency.write(details / "consistency.json", joined, given, list(spec.dimensions))
    reading_metrics.write(details / "readings.json", joined, fitted, spec, splits)
    if has_probabilities(joined):
        found = by_rule(joined, fitted, spec, splits)
        (details / "estimates.json").write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    reasons.write(details, joined, spec, ("document",))


def by_rule(
    joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """{mean, median, mode: {metric: {value, low, high}}} of the same rows and temperature."""
    groups = codes(joined["group"])
    given = {rule: answers(joined, fitted | {"estimate": rule}, spec, splits) for rule in RULES}
    return {rule: metrics_with_intervals(MEASURE, one, groups, spec) for rule, one in given.items()}


def by_dimension(given: ScoreAnswers, dimensions: list[str]) -> pl.DataFrame:
    """A row for each dimension that has rows: dimension, rows, unparsed, level (training mean), constant_mae.

    `constant_mae` is that of always giving the level; then comes every metric.
    """
    rows: list[dict[str, Any]] = []
    for code, name in enumerate(dimensions):
        part = given.take(np.flatnonzero(given.dimensions == code))
        if not len(part.gold):
            continue
        found = {metric: float(value) for metric, value in measure(part, np.ones(len(part.gold))).items()}
        counts = {"rows": len(part.gold), "unparsed": int((~part.seen).sum()), "level": float(part.levels[0])}
        counts["constant_mae"] = float(np.abs(part.levels - part.gold).mean())
        rows.append({"dimension": name, **counts, **found})
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table.with_columns(pl.col(METRICS).cast(pl.Float64).fill_nan(None))


def confusion(given: ScoreAnswers) -> pl.DataFrame:
    """The cells with rows: label (gold score), predicted (rounded, null: no answer), rows, share of the gold score."""
    decided = rounded(given.estimates, given.limits).astype(np.int64)
    table = pl.DataFrame({"label": given.gold.astype(np.int64), "predicted": decided, "seen": given.seen})
    table = table.with_columns(pl.when("seen").then("predicted")).group_by("label", "predicted").len("rows")
    share = pl.col("rows") / pl.col("rows").sum().over("label")
    return table.sort("label", "predicted").with_columns(share=share)


def by_estimate(given: ScoreAnswers) -> pl.DataFrame:
    """The answered rows by rounded estimate: x (mean estimate), y (mean gold score), rows."""
    table = pl.DataFrame({"x": given.estimates, "y": given.gold, "at": rounded(given.estimates, given.limits)})
    table = table.filter(pl.Series(given.seen))
    return table.group_by("at").agg(pl.col("x", "y").mean(), rows=pl.len()).sort("at").drop("at")


def worst_errors(joined: pl.DataFrame, given: ScoreAnswers, count: int) -> pl.DataFrame:
    """Pick the `count` answered rows farthest off: id, document, dimension, score, predicted, reason, given_reason.

    Farthest first, ties by id. `reason` is the row's (null: none), `given_reason` the model's.
    """
    told = pl.col("predicted_reason") if "predicted_reason" in joined.columns else pl.lit(None, pl.String)
    own = pl.col("reason") if "reason" in joined.columns else pl.lit(None, pl.String)
    table = joined.select(
        "id", "document", pl.col("dimension").cast(pl.String), "score", predicted=pl.Series(given.estimates),
        reason=own, given_reason=told, parsed="parsed",
    ).filter("parsed").drop("parsed")  # fmt: skip
    far = (pl.col("predicted") - pl.col("score")).abs()
    table = table.with_columns(far.alias("_far")).filter(pl.col("_far") > SAME)
    return table.sort("_far", "id", descending=[True, False]).drop("_far").head(count)
