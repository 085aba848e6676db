"""Predict the calibration and test rows of one model's task (`python -m stages.predict similarity_embedder`)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import polars as pl

from retune import learners
from retune.data import kinds
from retune.evaluation.predictions import limited
from retune.pipeline.stage import Stage, stage


@stage
def predict(run: Stage, model: str) -> None:
    """Load the model once, predict both splits, write a table for each, and what it took.

    An LLM also writes its answer to `evaluation.generate_rows` of the test rows, for comparison with scored labels; one
    that thinks answers `generation.sample_rows` of them several times.
    """
    spec, options = run.model(model), run.params.generation[model]
    kind, evaluation = kinds.of(spec.kind), run.task(spec.task).evaluation
    more = {"options": options} if options else {}
    predictor = learners.of(spec).load(Path("models") / model, run.base_dir(spec.base), spec.get("hardware"), **more)
    rows = {split: pl.read_parquet(run.split_file(spec.task, split)) for split in ("calibration", "test")}
    rows["test"] = test = limited(rows["test"], evaluation.limit, kind)
    start = time.monotonic()
    with (
        run.output(f"data/predictions/{spec.task}/{model}") as folder,
        run.output(f"reports/predicting/{model}") as record,
    ):
        both = predictor.predict(pl.concat(rows.values()))  # in one call, whose rows share prompts and batches
        tables = {"calibration": both.head(len(both) - len(test)), "test": both.tail(len(test))}
        answers = None
        if options.get("thinking") and options.samples:
            answers = predictor.sample(limited(test, options.sample_rows, kind))
        plain = kind.TARGET == "label" and "generated" not in both.columns
        if spec.learner == "llm" and plain and evaluation.generate_rows:
            answers = predictor.generate(limited(test, evaluation.generate_rows, kind))
        if answers is not None:
            tables["test"] = tables["test"].join(answers, on="id", how="left", maintain_order="left")
        for split, table in tables.items():
            table.write_parquet(folder / f"{split}.parquet")
            if cut := int(table["truncated"].sum()):
                run.log.warning("%s: %d of %d inputs were longer than max_length and cut", split, cut, len(table))
        found = resources(predictor, len(both), time.monotonic() - start)
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
