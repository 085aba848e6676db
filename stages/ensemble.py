"""Average a model's answers over its seeds, and measure the mean (`python -m stages.ensemble intent_encoder-mean`)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from retune.data import kinds
from retune.errors import RetuneError, unknown
from retune.evaluation import (
    abstention,
    counts,
    details,
    groups,
    intervals,
    mean_answers,
    predictions,
    risk_coverage,
)
from retune.evaluation import kinds as measures
from retune.pipeline.stage import Stage, stage

OF_ITSELF = ("calibration", "evaluation")
"""Sections of the task, which spec.json leaves out: a prediction reads neither."""


@stage
def ensemble(run: Stage, name: str) -> None:
    """Write what calibrates the mean, its metrics with the tables behind them, and a folder that names its members."""
    known = run.params.ensembles
    if name not in known:
        raise RetuneError(unknown("ensemble", name, list(known)))
    given = known[name]
    task, spec, kind = given.task, given.evaluation, measures.of(given.kind)
    joined, predicted = {}, {}
    for split in ("calibration", "test"):
        rows = pl.read_parquet(run.split_file(task, split))
        rows = predictions.limited(rows, spec.limit, kinds.of(given.kind)) if split == "test" else rows
        files = [f"data/predictions/{task}/{member}/{split}.parquet" for member in given.members]
        predicted[split] = mean_answers.mean([pl.read_parquet(file) for file in files], given.get("labels", []))
        columns = kind.columns(spec, predicted[split].columns)
        joined[split] = predictions.join(rows, predicted[split], columns, f"the mean of {', '.join(files)}")
    fitted = kind.calibrate(joined["calibration"], given.calibration)
    fitted |= {"unparsed": len(joined["calibration"]) - int(joined["calibration"]["parsed"].sum())}
    fitted |= abstention.calibrate(joined["calibration"], fitted, given.calibration)
    splits = json.loads(Path(f"data/splits/{task}/summary.json").read_text(encoding="utf-8"))
    answers = kind.answers(joined["test"], fitted, spec, splits)
    covered = kind.coverage(answers)
    metrics = intervals.metrics_with_intervals(kind.MEASURE, answers, groups.codes(joined["test"]["group"]), spec)
    first = kind.MEASURE.metrics[0]
    run.log.info("mean of %s: %s %.3f", ", ".join(given.members), first, metrics[first]["value"] or float("nan"))
    with run.output(f"models/{name}") as folder:
        said = {key: value for key, value in given.items() if key not in OF_ITSELF}
        (folder / "spec.json").write_text(json.dumps(said, ensure_ascii=False, indent=2), encoding="utf-8")
    with run.output(f"data/calibrations/{task}/{name}.json") as file:
        file.write_text(json.dumps(fitted, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with run.output(f"reports/evaluations/{task}/{name}") as folder:
        for part in ("details", "plots"):
            (folder / part).mkdir()
        details.of(given.kind).write(folder, joined["test"], fitted, spec, splits)
        abstains = risk_coverage.write(folder, joined["test"], fitted, spec)
    measured = {"test": counts.counts(joined["test"], predicted["test"]) | covered | metrics, **abstains}
    with run.output(f"reports/metrics/{name}.json") as file:
        file.write_text(json.dumps(measured, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    ensemble()
