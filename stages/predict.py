"""Predict the calibration and test rows of one model's task (`python -m stages.predict similarity_embedder`)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import polars as pl

from retune import learners, tasks
from retune.measures.predictions import limited
from retune.stage import Stage, stage


@stage
def predict(run: Stage, model: str) -> None:
    """Load the model once, predict both splits, write a table for each, and what it took.

    An LLM also writes its answer to `evaluation.generate_rows` of the test rows, for comparison with scored labels; one
    that thinks answers `generation.sample_rows` of them several times.
    """
    spec, options = run.model(model), run.params.generation[model]
    kind, evaluation = tasks.of(spec.kind), run.task(spec.task).evaluation
    more = {"options": options} if options else {}
    predictor = learners.of(spec).load(Path("models") / model, run.base_dir(spec.base), spec.get("hardware"), **more)
    start, count = time.monotonic(), 0
    with (
        run.output(f"data/predictions/{spec.task}/{model}") as folder,
        run.output(f"reports/predicting/{model}") as record,
    ):
        for split in ("calibration", "test"):
            rows = pl.read_parquet(run.split_file(spec.task, split))
            if split == "test":
                rows = limited(rows, evaluation.limit, kind)
            predictions = predictor.predict(rows)
            if split == "test" and options.get("thinking") and options.samples:
                drawn = predictor.sample(limited(rows, options.sample_rows, kind))
                predictions = predictions.join(drawn, on="id", how="left", maintain_order="left")
            plain = kind.TARGET == "label" and "generated" not in predictions.columns
            if split == "test" and spec.learner == "llm" and plain and evaluation.generate_rows:
                some = limited(rows, evaluation.generate_rows, kind)
                predictions = predictions.join(predictor.generate(some), on="id", how="left", maintain_order="left")
            count += len(rows)
            predictions.write_parquet(folder / f"{split}.parquet")
            if cut := int(predictions["truncated"].sum()):
                run.log.warning("%s: %d of %d inputs were longer than max_length and cut", split, cut, len(rows))
        found = resources(predictor, count, time.monotonic() - start)
        (record / "resources.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def resources(predictor: Any, rows: int, seconds: float) -> dict[str, Any]:
    """Rows and seconds; of a model that writes, also generated_tokens, generation_seconds and tokens_per_second."""
    found = {"seconds": round(seconds, 1), "rows": rows}
    if not (tokens := getattr(predictor, "written", 0)):
        return found
    spent = predictor.seconds
    speed = round(tokens / max(spent, 1e-9), 1)
    return found | {"generated_tokens": tokens, "generation_seconds": round(spent, 1), "tokens_per_second": speed}


if __name__ == "__main__":
    predict()
