"""Compare the models of one task on its test split (`python -m stages.compare similarity`)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from retune import bootstrap, comparison, predictions
from retune.stage import Stage, stage


@stage
def compare(run: Stage, task: str) -> None:
    """Write the differences of every pair of models, and the rows on which models differ."""
    spec = run.task(task)
    rows = pl.read_parquet(run.split_file(task, "test"))
    answers, seen = {}, {}
    for model in spec.models:
        source = f"data/predictions/{task}/{model}/test.parquet"
        joined = predictions.join_gold(rows, pl.read_parquet(source), source)
        fitted = json.loads(Path(f"data/calibrations/{task}/{model}.json").read_text(encoding="utf-8"))
        answers[model] = predictions.answers(joined, fitted["temperature"], fitted["threshold"])
        seen[model] = predictions.parsed(joined)
    result = comparison.compare(answers, bootstrap.group_codes(rows["group"]), spec.evaluation)
    if result["resamples"] > spec.evaluation.bootstrap:
        run.log.info("%d resamples, so that p can be small for %d pairs", result["resamples"], len(result["pairs"]))
    differing = comparison.disagreements(rows, answers, seen)
    run.log.info("%d pairs of models; they differ on %d of %d rows", len(result["pairs"]), len(differing), len(rows))
    with run.output(f"reports/comparisons/{task}") as folder:
        (folder / "comparison.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        differing.write_parquet(folder / "disagreements.parquet")


if __name__ == "__main__":
    compare()
