"""Predict the calibration and test rows of one model's task (`python -m stages.predict similarity_embedder`)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from retune import learners, tasks
from retune.measures.predictions import limited
from retune.stage import Stage, stage


@stage
def predict(run: Stage, model: str) -> None:
    """Load the model once, predict both splits, write a table for each.

    An LLM also writes its answer to `evaluation.generate_rows` of the test rows, for comparison with scored labels.
    """
    spec = run.model(model)
    kind, evaluation = tasks.of(spec.kind), run.task(spec.task).evaluation
    predictor = learners.of(spec).load(Path("models") / model, run.base_dir(spec.base), spec.get("hardware"))
    with run.output(f"data/predictions/{spec.task}/{model}") as folder:
        for split in ("calibration", "test"):
            rows = pl.read_parquet(run.split_file(spec.task, split))
            if split == "test":
                rows = limited(rows, evaluation.limit, kind)
            predictions = predictor.predict(rows)
            if split == "test" and spec.learner == "llm" and evaluation.generate_rows:
                some = limited(rows, evaluation.generate_rows, kind)
                predictions = predictions.join(predictor.generate(some), on="id", how="left", maintain_order="left")
            predictions.write_parquet(folder / f"{split}.parquet")
            if cut := int(predictions["truncated"].sum()):
                run.log.warning("%s: %d of %d inputs were longer than max_length and cut", split, cut, len(rows))


if __name__ == "__main__":
    predict()
