"""Predict the calibration and test rows of one model's task (`python -m stages.predict similarity_embedder`)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from retune import learners
from retune.stage import Stage, stage


@stage
def predict(run: Stage, model: str) -> None:
    """Load the model once, predict both splits, write a table for each."""
    spec = run.model(model)
    predictor = learners.of(spec).load(Path("models") / model, run.base_dir(spec.base), spec.get("hardware"))
    with run.output(f"data/predictions/{spec.task}/{model}") as folder:
        for split in ("calibration", "test"):
            rows = pl.read_parquet(run.split_file(spec.task, split))
            predictions = predictor.predict(rows)
            predictions.write_parquet(folder / f"{split}.parquet")
            if cut := int(predictions["truncated"].sum()):
                run.log.warning("%s: %d of %d inputs were longer than max_length and cut", split, cut, len(rows))


if __name__ == "__main__":
    predict()
