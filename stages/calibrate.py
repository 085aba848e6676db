"""Fit a model's temperature and threshold on the calibration split (`python -m stages.calibrate similarity_linear`)."""

from __future__ import annotations

import json

import polars as pl

from retune.evaluation import abstention, kinds, predictions, readings
from retune.pipeline.stage import Stage, stage


@stage
def calibrate(run: Stage, model: str) -> None:
    """Fit on the rows that the model answered, and write the numbers with the quality before and after."""
    task = run.model(model).task
    spec = run.task(task).calibration
    kind = kinds.of(spec.kind)
    rows = pl.read_parquet(run.split_file(task, "calibration"))
    source = f"data/predictions/{task}/{model}/calibration.parquet"
    predicted = pl.read_parquet(source)
    joined = predictions.join(rows, predicted, kind.columns(spec, predicted.columns), source)
    fitted = kind.calibrate(joined, spec) | {"unparsed": len(joined) - int(joined["parsed"].sum())}
    fitted |= readings.calibrate(joined, spec)
    fitted |= abstention.calibrate(joined, fitted, spec)
    if said := readings.problem(joined, spec):
        fitted["messages"].append(said)
    numbers = (f"{name} {value:.4f}" for name, value in fitted.items() if isinstance(value, float))
    run.log.info(", ".join(numbers))
    for message in fitted["messages"]:
        run.log.warning(message)
    with run.output(f"data/calibrations/{task}/{model}.json") as file:
        file.write_text(json.dumps(fitted, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    calibrate()
