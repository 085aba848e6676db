"""Predict the calibration and test rows of one model's task (`python -m stages.predict similarity_embedder`)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from retune import learners, params, run_record
from retune.data import kinds
from retune.evaluation.predictions import limited
from retune.params import Params
from retune.pipeline.stage import Stage, stage
from retune.training import provenance

if TYPE_CHECKING:
    from retune.learners.protocols import Predictor, Writer


@stage
def predict(run: Stage, model: str) -> None:
    """Load the model once, predict both splits, write a table for each, and what it took.

    An LLM also writes its answer to `evaluation.generate_rows` of the test rows, for comparison with scored labels; one
    that thinks answers `generation.sample_rows` of them several times.
    """
    built, given = Path("models") / model, run.prediction(model)
    spec = params.load(built / "spec.json")  # what it was trained by
    kind, options = kinds.of(spec.kind), given.get("generation", Params())
    predictor = learners.load(spec, built, run.base_dir(spec.base), given.hardware, options)
    if said := provenance.warning(built, learners.package(spec), predictor):
        run.log.warning("%s", said)
    rows = {split: pl.read_parquet(run.split_file(spec.task, split)) for split in ("calibration", "test")}
    rows["test"] = test = limited(rows["test"], given.limit, kind)
    start = time.monotonic()
    with run.output(f"data/predictions/{spec.task}/{model}") as folder:
        both = predictor.predict(pl.concat(rows.values()))  # in one call, whose rows share prompts and batches
        tables = {"calibration": both.head(len(both) - len(test)), "test": both.tail(len(test))}
        answers = None
        if options.get("thinking") and options.samples:
            answers = cast("Writer", predictor).sample(limited(test, options.sample_rows, kind))
        if given.get("generate_rows"):
            answers = cast("Writer", predictor).generate(limited(test, given.generate_rows, kind))
        if answers is not None:
            tables["test"] = tables["test"].join(answers, on="id", how="left", maintain_order="left")
        for split, table in tables.items():
            table.write_parquet(folder / f"{split}.parquet")
            if cut := int(table["truncated"].sum()):
                run.log.warning("%s: %d of %d inputs were longer than max_length and cut", split, cut, len(table))
        found = resources(predictor, len(both), time.monotonic() - start)
        run_record.write("predict", model, folder / "test.parquet", found)


def resources(predictor: Predictor, rows: int, seconds: float) -> dict[str, Any]:
    """Rows and seconds; of a model that writes, also generated_tokens, generation_seconds and tokens_per_second."""
    found = {"seconds": round(seconds, 1), "rows": rows}
    if not (tokens := getattr(predictor, "written", 0)):
        return found
    spent = cast("Writer", predictor).seconds
    speed = round(tokens / max(spent, 1e-9), 1)
    return found | {"generated_tokens": tokens, "generation_seconds": round(spent, 1), "tokens_per_second": speed}


if __name__ == "__main__":
    predict()
