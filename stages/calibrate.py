"""Fit a model's temperature and threshold on the calibration split (`python -m stages.calibrate similarity_linear`)."""

from __future__ import annotations

import json

import polars as pl

from retune import calibration, predictions
from retune.stage import Stage, stage


@stage
def calibrate(run: Stage, model: str) -> None:
    """Fit on the rows that the model answered, and write the numbers with the quality before and after."""
    task = run.model(model).task
    rows = pl.read_parquet(run.split_file(task, "calibration"))
    source = f"data/predictions/{task}/{model}/calibration.parquet"
    joined = predictions.join_gold(rows, pl.read_parquet(source), source)
    seen = joined.filter(predictions.parsed(joined))
    labels = seen["label"].to_numpy().astype(int)
    fitted = calibration.calibrate(
        labels, seen["prob_0"].to_numpy(), seen["prob_1"].to_numpy(), run.task(task).calibration
    )
    fitted["unparsed"] = len(joined) - len(seen)
    run.log.info("threshold %.4f (%s), temperature %.3f", fitted["threshold"], fitted["rule"], fitted["temperature"])
    for message in fitted["messages"]:
        run.log.warning(message)
    with run.output(f"data/calibrations/{task}/{model}.json") as file:
        file.write_text(json.dumps(fitted, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    calibrate()
