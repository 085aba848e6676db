"""Counts beside the metrics of a model: rows, unanswered ones, what an endpoint took, how plain generation fares."""

from __future__ import annotations

from typing import Any

import polars as pl

from retune.evaluation import readings


def counts(joined: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, Any]:
    """Numbers of one split; `joined` are its rows with the measured columns (retune.evaluation.predictions.join)."""
    return {
        "rows": len(joined),
        "groups": joined["group"].n_unique(),
        "unparsed": len(joined) - int(joined["parsed"].sum()),
        "truncated": int(joined["truncated"].sum()),
        **spent(predictions),
        **generated(joined, predictions),
    }


def covered(coverage: dict[str, int]) -> str | None:
    """`51 queries of 4,924 counted`, where not all of the rows count; `coverage` is that of the task kind."""
    if not coverage:
        return None
    (unit, every), (_, number) = coverage.items()
    return f"{number:,} {unit} of {every:,} counted"


def spent(predictions: pl.DataFrame) -> dict[str, Any]:
    """Tokens and cost of all rows, where the predictions hold them (learner `api`)."""
    names = ("prompt_tokens", "completion_tokens", "cost")
    return {name: predictions[name].sum() for name in names if name in predictions.columns}


def generated(joined: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, Any]:
    """How the answers that the LLM wrote on some rows fare beside the label that it scored highest on the same rows.

    generated_rows; generated_unparsed, those that name no label and count as wrong; generated_accuracy and
    scored_accuracy, without threshold and temperature. Empty where nothing was generated, and where the answers were
    generated with thinking (retune.evaluation.readings).
    """
    if "generated" not in predictions.columns or readings.several(predictions.columns):
        return {}
    written = predictions.filter(pl.col("generated").is_not_null())
    if "label" not in joined.columns:
        return _scores(joined, written)
    rows = joined.select("id", gold=pl.col("label").cast(pl.String)).join(written, on="id")
    scored, said = (pl.col(name).cast(pl.String) == pl.col("gold") for name in ("label", "generated_label"))
    return {
        "generated_rows": len(rows),
        "generated_unparsed": rows["generated_label"].null_count(),
        "generated_accuracy": rows.select(said.fill_null(False).mean()).item(),
        "scored_accuracy": rows.select(scored.mean()).item(),
    }


def _scores(joined: pl.DataFrame, written: pl.DataFrame) -> dict[str, Any]:
    """The same for scores: generated_mae and scored_mae are over the rows whose written score could be read."""
    rows = joined.select("id", gold=pl.col("score")).join(written, on="id")
    errors = rows.select(
        (pl.col("generated_label").cast(pl.Float64) - pl.col("gold")).abs().alias("said"),
        (pl.col("score") - pl.col("gold")).abs().alias("scored"),
    ).drop_nulls()
    return {
        "generated_rows": len(rows),
        "generated_unparsed": rows["generated_label"].null_count(),
        "generated_mae": errors["said"].mean(),
        "scored_mae": errors["scored"].mean(),
    }
