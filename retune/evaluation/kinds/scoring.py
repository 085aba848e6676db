"""Measures of kind `scoring`: how far the estimated scores are from the gold ones, in all and in each dimension.

The decision is a number. Where the model gives probabilities of the scores, it is their mean, median or mode
(retune.evaluation.score_estimates) at the temperature, both fitted on the calibration split (the prediction's own
`score` is the mean at temperature 1); else it is the `score` of the prediction. A row without an answer counts as far
off as can be: at the end of the scale that is farther away.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.errors import RetuneError
from retune.evaluation import readings, reasons, score_estimates, self_consistency
from retune.evaluation.calibration import COLDEST, HOTTEST, unfitted
from retune.evaluation.kinds import classification
from retune.evaluation.score_metrics import METRICS, Answers, measure, rounded
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from collections.abc import Collection

    from retune.params import Params

__all__ = ["METRICS", "measure"]

CENTRED = ()
SAME = 1e-9
"""Two errors that differ by less are the same."""


def columns(spec: Params, given: Collection[str] = ()) -> tuple[str, ...]:
    """The score, and the probability of every score where the prediction has it."""
    return ("score", *(name for name in labels.names(len(spec.labels)) if name in given))


def scores(spec: Params) -> Floats:
    """The scores of the task, lowest first [K]."""
    lowest, highest = spec.scores
    return np.arange(lowest, highest + 1, dtype=np.float64)


def calibrate(joined: pl.DataFrame, spec: Params) -> dict[str, Any]:
    """Fit the temperature of the probabilities on the rows that the model answered, and choose the estimate.

    Returns both, `maes` of each estimate, `rows`, `before` (the mean at temperature 1) and `after` (nll, mae), and
    messages. Without probabilities there is nothing to fit: the temperature is 1, nll and estimate are null.
    """
    seen = joined.filter("parsed")
    nothing: dict[str, float | None] = {"nll": None, "mae": None}
    if seen.is_empty():
        return unfitted(0, len(joined)) | {"estimate": None, "before": nothing, "after": nothing}
    if not has_probabilities(joined):
        quality = {"nll": None, "mae": float(np.abs(estimated(seen, {}, spec) - _gold(seen)).mean())}
        return {
            "temperature": 1.0, "estimate": None, "rows": len(seen), "before": quality, "after": quality, "messages": []
        }  # fmt: skip
    logs = classification.log_probs(seen, len(spec.labels))
    codes = (seen["score"].to_numpy() - spec.scores[0]).astype(np.int64)
    temperature = classification.fit_temperature(logs, codes) if spec.temperature else 1.0
    messages = []
    if temperature in (COLDEST, HOTTEST):
        why = "no wrong answer holds it back" if temperature == COLDEST else "the probabilities say little"
        messages.append(f"The temperature stops at its limit {temperature:g}: {why}.")

    chances = np.exp(classification.cooled(logs, temperature))
    chosen = score_estimates.choose(chances, scores(spec), _gold(seen), spec.get("estimate", "auto"))

    def quality_at(temperature: float, rule: str) -> dict[str, float]:
        nll = -classification.cooled(logs, temperature)[np.arange(len(codes)), codes].mean()
        found = estimated(seen, {"temperature": temperature, "estimate": rule}, spec)
        return {"nll": float(nll), "mae": float(np.abs(found - _gold(seen)).mean())}

    return {
        "temperature": temperature,
        **chosen,
        "rows": len(seen),
        "before": quality_at(1.0, "mean"),
        "after": quality_at(temperature, chosen["estimate"]),
        "messages": messages,
    }


def has_probabilities(joined: pl.DataFrame) -> bool:
    """Whether the model gives a distribution over the scores."""
    return "prob_0" in joined.columns


def estimated(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params) -> Floats:
    """The estimate of every row [n] by what was fitted, within the limits; NaN where the model gave none.

    Raises `RetuneError` for a score that is not finite.
    """
    seen = joined["parsed"].to_numpy()
    if has_probabilities(joined):
        logs = classification.cooled(classification.log_probs(joined, len(spec.labels)), fitted["temperature"])
        found = score_estimates.estimate(np.exp(logs), scores(spec), fitted["estimate"] or "mean")
    else:
        found = joined["predicted_score"].cast(pl.Float64).fill_null(0.0).to_numpy()
        if not np.isfinite(found).all():
            raise RetuneError("a score is not finite; the model has diverged: lower its learning_rate")
    return np.where(seen, np.clip(found, *spec.scores), np.nan)


def _gold(joined: pl.DataFrame) -> Floats:
    return joined["score"].to_numpy().astype(np.float64)


def answers(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> Answers:
    """Estimates of joined rows [n]; the one of a row without an answer is the farther end of the scale."""
    gold, found = _gold(joined), estimated(joined, fitted, spec)
    lowest, highest = spec.scores
    worst = np.where(gold - lowest >= highest - gold, float(lowest), float(highest))
    seen = ~np.isnan(found)
    names = list(spec.dimensions)
    codes = labels.codes(joined["dimension"], names)
    means = training_means(splits["splits"]["train"]["targets"], names)
    return Answers(gold, np.where(seen, found, worst), seen, means[codes], codes, (lowest, highest), bins(spec))


def bins(spec: Params) -> tuple[int, ...]:
    """The scores at which a bin begins, but for the first: `evaluation.bins`, or thirds of the scale."""
    if spec.get("bins"):
        return tuple(spec.bins)
    lowest, highest = spec.scores
    count = highest - lowest + 1
    starts = {lowest + round(count * third / 3) for third in (1, 2)}
    return tuple(sorted(starts - {lowest}))


def training_means(targets: dict[str, int], dimensions: list[str]) -> Floats:
    """The mean training score of each dimension, from the counts of `DIMENSION:SCORE`; that of all where it has none.

    Raises `RetuneError` where there is no training row at all.
    """
    sums, rows = np.zeros(len(dimensions)), np.zeros(len(dimensions))
    for target, count in targets.items():
        name, _, score = target.rpartition(":")
        place = dimensions.index(name)
        sums[place] += count * float(score)
        rows[place] += count
    if not rows.sum():
        raise RetuneError("the training split has no rows, so there is no constant score to compare with")
    return np.where(rows > 0, sums / np.maximum(rows, 1), sums.sum() / rows.sum())


def order(given: Answers) -> Integers:
    """By estimate: their ranks then sort nothing."""
    return np.argsort(given.estimates, kind="stable")


def ignorant(given: Answers) -> Answers:
    """Answer every row with the training mean of its dimension."""
    return given._replace(estimates=given.levels, seen=np.ones(len(given.gold), dtype=bool))


def wins(a: Answers, b: Answers) -> tuple[int, int, float]:
    """Rows that only a is nearer to, rows that only b is, share of equal rounded scores."""
    gains = np.abs(b.estimates - b.gold) - np.abs(a.estimates - a.gold)
    same = (rounded(a.estimates, a.limits) == rounded(b.estimates, b.limits)) & (a.seen == b.seen)
    return int((gains > SAME).sum()), int((gains < -SAME).sum()), float(np.mean(same))


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
    readings.write(details / "readings.json", joined, fitted, spec, splits)
    if has_probabilities(joined):
        score_estimates.write(details / "estimates.json", joined, fitted, spec, splits)
    reasons.write(details, joined, spec, ("document",))


def by_dimension(given: Answers, dimensions: list[str]) -> pl.DataFrame:
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


def confusion(given: Answers) -> pl.DataFrame:
    """The cells with rows: label (gold score), predicted (rounded, null: no answer), rows, share of the gold score."""
    decided = rounded(given.estimates, given.limits).astype(np.int64)
    table = pl.DataFrame({"label": given.gold.astype(np.int64), "predicted": decided, "seen": given.seen})
    table = table.with_columns(pl.when("seen").then("predicted")).group_by("label", "predicted").len("rows")
    share = pl.col("rows") / pl.col("rows").sum().over("label")
    return table.sort("label", "predicted").with_columns(share=share)


def by_estimate(given: Answers) -> pl.DataFrame:
    """The answered rows by rounded estimate: x (mean estimate), y (mean gold score), rows."""
    table = pl.DataFrame({"x": given.estimates, "y": given.gold, "at": rounded(given.estimates, given.limits)})
    table = table.filter(pl.Series(given.seen))
    return table.group_by("at").agg(pl.col("x", "y").mean(), rows=pl.len()).sort("at").drop("at")


def worst_errors(joined: pl.DataFrame, given: Answers, count: int) -> pl.DataFrame:
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


def disagreements(joined: dict[str, pl.DataFrame], models: dict[str, Answers]) -> pl.DataFrame:
    """List the rows whose rounded scores differ between models, the widest range of estimates first.

    Columns: id, document, dimension, score, then for each model `MODEL.score` (null where unparsed). Ties by id.
    """
    decided = np.stack([rounded(given.estimates, given.limits) for given in models.values()])
    estimates = np.stack([given.estimates for given in models.values()])
    shown = [
        pl.when(pl.Series(given.seen)).then(pl.Series(given.estimates)).alias(f"{name}.score")
        for name, given in models.items()
    ]
    table = next(iter(joined.values())).select("id", "document", pl.col("dimension").cast(pl.String), "score")
    return (
        table.with_columns(shown)
        .with_columns(_range=pl.Series(np.ptp(estimates, axis=0)))
        .filter(pl.Series(np.ptp(decided, axis=0) > 0))
        .sort("_range", "id", descending=[True, False])
        .drop("_range")
    )
