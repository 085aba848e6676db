"""Measures of kind `scoring`: how far the estimated scores are from the gold ones, in all and in each dimension.

The decision is a number. Where the model gives probabilities of the scores, it is their mean, median or mode
(retune.evaluation.score_estimates) at the temperature, both fitted on the calibration split (the prediction's own
`score` is the mean at temperature 1); else it is the `score` of the prediction. A row without an answer counts as far
off as can be: at the end of the scale that is farther away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.errors import RetuneError
from retune.evaluation import score_estimates, score_metrics
from retune.evaluation.calibration import at_limit, unfitted
from retune.evaluation.kinds import classification
from retune.evaluation.measure import CORRELATION, ERROR, SHARE, Measure
from retune.evaluation.score_metrics import ScoreAnswers, rounded
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from collections.abc import Collection

    from retune.params import Params

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
    chances = np.exp(classification.temperature_scaled(logs, temperature))
    chosen = score_estimates.choose(chances, scores(spec), _gold(seen), spec.get("estimate", "auto"))

    def quality_at(temperature: float, rule: str) -> dict[str, float]:
        nll = -classification.temperature_scaled(logs, temperature)[np.arange(len(codes)), codes].mean()
        found = estimated(seen, {"temperature": temperature, "estimate": rule}, spec)
        return {"nll": float(nll), "mae": float(np.abs(found - _gold(seen)).mean())}

    return {
        "temperature": temperature,
        **chosen,
        "rows": len(seen),
        "before": quality_at(1.0, "mean"),
        "after": quality_at(temperature, chosen["estimate"]),
        "messages": at_limit(temperature),
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
        logs = classification.temperature_scaled(
            classification.log_probs(joined, len(spec.labels)), fitted["temperature"]
        )
        found = score_estimates.estimate(np.exp(logs), scores(spec), fitted["estimate"] or "mean")
    else:
        found = joined["predicted_score"].cast(pl.Float64).fill_null(0.0).to_numpy()
        if not np.isfinite(found).all():
            raise RetuneError("a score is not finite; the model has diverged: lower its learning_rate")
    return np.where(seen, np.clip(found, *spec.scores), np.nan)


def _gold(joined: pl.DataFrame) -> Floats:
    return joined["score"].to_numpy().astype(np.float64)


def answers(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> ScoreAnswers:
    """Estimates of joined rows [n]; the one of a row without an answer is the farther end of the scale."""
    gold, found = _gold(joined), estimated(joined, fitted, spec)
    lowest, highest = spec.scores
    worst = np.where(gold - lowest >= highest - gold, float(lowest), float(highest))
    seen = ~np.isnan(found)
    names = list(spec.dimensions)
    codes = labels.codes(joined["dimension"], names)
    means = training_means(splits["splits"]["train"]["targets"], names)
    return ScoreAnswers(gold, np.where(seen, found, worst), seen, means[codes], codes, (lowest, highest), bins(spec))


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


def order(given: ScoreAnswers) -> Integers:
    """By estimate: their ranks then sort nothing."""
    return np.argsort(given.estimates, kind="stable")


def counted(given: ScoreAnswers) -> dict[str, Integers]:
    """The rows on which agreement with the gold scores can be measured."""
    return dict.fromkeys(("pearson", "spearman", "kappa"), score_metrics.varied(given))


RANGES = {
    **dict.fromkeys(("mae", "rmse"), ERROR),
    **dict.fromkeys(("pearson", "spearman", "kappa"), CORRELATION),
    **dict.fromkeys(("bin_accuracy", "exact", "within_1"), SHARE),
}
MEASURE = Measure(score_metrics.METRICS, score_metrics.measure, order, counted=counted, ranges=RANGES)


def constant_baseline(given: ScoreAnswers) -> ScoreAnswers:
    """Answer every row with the training mean of its dimension."""
    return given._replace(estimates=given.levels, seen=np.ones(len(given.gold), dtype=bool))


def coverage(given: ScoreAnswers) -> dict[str, int]:
    """Dimensions that have rows, and those of them that count in correlations and kappa: their gold scores vary."""
    known = np.unique(given.dimensions[score_metrics.varied(given)])
    return {"dimensions": len(np.unique(given.dimensions)), "dimensions_counted": len(known)}


def cautions(given: ScoreAnswers, spec: Params) -> list[str]:
    """Which dimensions have but one gold score."""
    lost = np.setdiff1d(given.dimensions, given.dimensions[score_metrics.varied(given)])
    if not len(lost):
        return []
    named = ", ".join(list(spec.dimensions)[code] for code in lost)
    return [f"All test rows of {named} have one gold score: correlations and kappa leave them out."]


def wins(a: ScoreAnswers, b: ScoreAnswers) -> tuple[int, int, float]:
    """Rows that only a is nearer to, rows that only b is, share of equal rounded scores."""
    gains = np.abs(b.estimates - b.gold) - np.abs(a.estimates - a.gold)
    same = (rounded(a.estimates, a.limits) == rounded(b.estimates, b.limits)) & (a.seen == b.seen)
    return int((gains > SAME).sum()), int((gains < -SAME).sum()), float(np.mean(same))


def disagreements(joined: dict[str, pl.DataFrame], models: dict[str, ScoreAnswers]) -> pl.DataFrame:
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
