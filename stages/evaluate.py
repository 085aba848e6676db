"""Measure one model on the test split (`python -m stages.evaluate similarity_linear`)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from retune.data import kinds
from retune.evaluation import counts, details, groups, intervals, predictions, risk_coverage
from retune.evaluation import kinds as measures
from retune.pipeline.stage import Stage, stage


@stage
def evaluate(run: Stage, model: str) -> None:
    """Write the metrics with their intervals, and the tables and curves behind them."""
    task = run.model(model).task
    spec = run.task(task).evaluation
    kind = measures.of(spec.kind)
    rows = predictions.limited(pl.read_parquet(run.split_file(task, "test")), spec.limit, kinds.of(spec.kind))
    source = f"data/predictions/{task}/{model}/test.parquet"
    predicted = pl.read_parquet(source)
    joined = predictions.join(rows, predicted, kind.columns(spec, predicted.columns), source)
    fitted = json.loads(Path(f"data/calibrations/{task}/{model}.json").read_text(encoding="utf-8"))
    splits = json.loads(Path(f"data/splits/{task}/summary.json").read_text(encoding="utf-8"))
    answers = kind.answers(joined, fitted, spec, splits)
    covered = kind.coverage(answers)
    metrics = intervals.metrics_with_intervals(kind.MEASURE, answers, groups.codes(rows["group"]), spec)
    for name in kind.MEASURE.metrics[:2]:
        value = metrics[name]
        if value["value"] is not None:
            span = "no interval" if value["low"] is None else f"{value['low']:.3f} to {value['high']:.3f}"
            run.log.info("%s %.3f (%s)", name, value["value"], span)
    if said := counts.covered(covered):
        run.log.info(said)
    with run.output(f"reports/evaluations/{task}/{model}") as folder:
        for part in ("details", "plots"):
            (folder / part).mkdir()
        details.of(spec.kind).write(folder, joined, fitted, spec, splits)
        abstains = risk_coverage.write(folder, joined, fitted, spec)
    with run.output(f"reports/metrics/{model}.json") as file:
        file.write_text(
            json.dumps(
                {"test": counts.counts(joined, predicted) | covered | metrics, **abstains}, indent=2, allow_nan=False
            )
            + "\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    evaluate()
