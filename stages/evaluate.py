"""Measure one model on the test split (`python -m stages.evaluate similarity_linear`)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from retune import bootstrap, curves, evaluation, predictions
from retune.stage import Stage, stage


@stage
def evaluate(run: Stage, model: str) -> None:
    """Write the metrics with their intervals, the curves, the confusion matrix and the worst errors."""
    task = run.model(model).task
    spec = run.task(task).evaluation
    rows = pl.read_parquet(run.split_file(task, "test"))
    source = f"data/predictions/{task}/{model}/test.parquet"
    joined = predictions.join_gold(rows, pl.read_parquet(source), source)
    fitted = json.loads(Path(f"data/calibrations/{task}/{model}.json").read_text(encoding="utf-8"))
    answers = predictions.answers(joined, fitted["temperature"], fitted["threshold"])
    raw = predictions.answers(joined, 1.0, 0.5)
    seen = predictions.parsed(joined)
    counts = {"rows": len(rows), "groups": rows["group"].n_unique(), "unparsed": len(rows) - int(seen.sum())}
    metrics = evaluation.metrics_with_intervals(answers, bootstrap.group_codes(rows["group"]), spec)
    for name in ("f1", "auc"):
        value = metrics[name]
        if value["value"] is not None:
            run.log.info("%s %.3f (%.3f to %.3f)", name, value["value"], value["low"], value["high"])
    with run.output(f"reports/evaluations/{task}/{model}") as folder:
        curves.roc(answers.labels, answers.probabilities).write_csv(folder / "roc.csv")
        curves.precision_recall(answers.labels, answers.probabilities).write_csv(folder / "pr.csv")
        curves.reliability(answers.labels, answers.probabilities).write_csv(folder / "reliability.csv")
        curves.reliability(raw.labels, raw.probabilities).write_csv(folder / "reliability_uncalibrated.csv")
        (folder / "confusion.json").write_text(json.dumps(evaluation.confusion_counts(answers), indent=2) + "\n")
        evaluation.worst_errors(rows, answers, seen, spec.errors).write_parquet(folder / "errors.parquet")
    with run.output(f"reports/metrics/{model}.json") as file:
        file.write_text(json.dumps({"test": counts | metrics}, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    evaluate()
