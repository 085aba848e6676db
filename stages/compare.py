"""Compare the models of one task on its test split (`python -m stages.compare similarity`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from retune.data import kinds
from retune.evaluation import comparison, intervals, predictions
from retune.evaluation import groups as clusters
from retune.evaluation import kinds as measures
from retune.pipeline.stage import Stage, stage

if TYPE_CHECKING:
    from retune.evaluation.kinds.protocol import ChainedKind


@stage
def compare(run: Stage, task: str) -> None:
    """Write the differences of every pair of models, and the rows on which models differ."""
    spec = run.task(task).comparison
    kind = measures.of(spec.kind)
    rows = predictions.limited(pl.read_parquet(run.split_file(task, "test")), spec.limit, kinds.of(spec.kind))
    splits = json.loads(Path(f"data/splits/{task}/summary.json").read_text(encoding="utf-8"))
    joined, answers = {}, {}
    for model in spec.models:
        source = f"data/predictions/{task}/{model}/test.parquet"
        predicted = pl.read_parquet(source)
        joined[model] = predictions.join(rows, predicted, kind.columns(spec, predicted.columns), source)
        fitted = json.loads(Path(f"data/calibrations/{task}/{model}.json").read_text(encoding="utf-8"))
        answers[model] = kind.answers(joined[model], fitted, spec, splits)
    groups = clusters.codes(rows["group"])
    measured = {}
    for name, chain in spec.chains.items():
        joined[name] = joined[chain.first]
        answers[name], saved = cast("ChainedKind[Any]", kind).chained(
            answers[chain.first], answers[chain.second], chain.candidates
        )
        metrics = intervals.metrics_with_intervals(kind.MEASURE, answers[name], groups, spec)
        measured[name] = {**chain, "saved": saved, "metrics": metrics}
    result = comparison.compare(kind, answers, groups, spec) | {"chains": measured}
    if result["resamples"] > spec.bootstrap:
        run.log.info("%d resamples, so that p can be small for %d pairs", result["resamples"], len(result["pairs"]))
    for caution in result["warnings"]:
        run.log.warning(caution)
    differing = kind.disagreements(joined, answers)
    run.log.info("%d pairs of models; they differ on %d of %d rows", len(result["pairs"]), len(differing), len(rows))
    with run.output(f"reports/comparisons/{task}") as folder:
        (folder / "comparison.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        differing.write_parquet(folder / "disagreements.parquet")


if __name__ == "__main__":
    compare()
