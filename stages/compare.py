"""Compare the models of one task on its test split (`python -m stages.compare similarity`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from retune.data import kinds
from retune.errors import RetuneError
from retune.evaluation import comparison, intervals, mean_answers, predictions, seeds
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
    joined: dict[str, pl.DataFrame] = {}

    def answered(model: str, *members: str) -> Any:
        """The answers of a model, or of the mean of its members."""
        files = [Path(f"data/predictions/{task}/{one}/test.parquet") for one in members or (model,)]
        tables = [_read(file) for file in files]
        predicted = mean_answers.mean(tables, spec.get("labels", [])) if members else tables[0]
        source = ", ".join(map(str, files))
        joined[model] = predictions.join(rows, predicted, kind.columns(spec, predicted.columns), source)
        fitted = json.loads(Path(f"data/calibrations/{task}/{model}.json").read_text(encoding="utf-8"))
        return kind.answers(joined[model], fitted, spec, splits)

    several, means = spec.get("seeds", {}), spec.get("ensembles", {})
    further = {model: [answered(one) for one in members if one != model] for model, members in several.items()}
    answers = {model: answered(model) for model in spec.models}
    answers |= {name: answered(name, *several[model]) for name, model in means.items()}
    seeded = seeds.Seeded(further, means, spec.get("fixed", ()))
    groups = clusters.codes(rows["group"])
    measured = {}
    for name, chain in spec.chains.items():
        joined[name] = joined[chain.first]
        answers[name], saved = cast("ChainedKind[Any]", kind).chained(
            answers[chain.first], answers[chain.second], chain.candidates
        )
        metrics = intervals.metrics_with_intervals(kind.MEASURE, answers[name], groups, spec)
        measured[name] = {**chain, "saved": saved, "metrics": metrics}
    result = comparison.compare(kind, answers, groups, spec, seeded) | {"chains": measured}
    if result["resamples"] > spec.bootstrap:
        run.log.info("%d resamples, so that p can be small for %d pairs", result["resamples"], len(result["pairs"]))
    for caution in result["warnings"]:
        run.log.warning(caution)
    differing = kind.disagreements(joined, answers)
    run.log.info("%d pairs of models; they differ on %d of %d rows", len(result["pairs"]), len(differing), len(rows))
    with run.output(f"reports/comparisons/{task}") as folder:
        (folder / "comparison.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        differing.write_parquet(folder / "disagreements.parquet")


def _read(file: Path) -> pl.DataFrame:
    """Predictions; those of a further seed can be missing where DVC began without it."""
    if not file.is_file():
        raise RetuneError(
            f"{file.parent.name} is not built yet, and no table is made without it: run `dvc repro` again"
        )
    return pl.read_parquet(file)


if __name__ == "__main__":
    compare()
