"""Fit one model on its task's training rows (`python -m stages.train similarity_embedder`)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl

from retune import learners, run_record
from retune.data import kinds, learned, lessons
from retune.pipeline import dvc_hash, warm_start
from retune.pipeline.stage import Stage, stage
from retune.training import dvclive_log, provenance, scratch_key, start


@stage
def train(run: Stage, model: str) -> None:
    """Read the rows and the base, fit, write the model folder (with its provenance) and the record of the training."""
    spec = run.model(model)
    files = [run.split_file(spec.task, split) for split in ("train", "dev")]
    rows, dev = map(pl.read_parquet, files)
    known = learned.of(rows, kinds.of(spec.kind)) if warm_start.wanted(spec) else None  # or: it keeps no rows
    if not spec.augmented:
        rows = rows.filter(pl.col("origin") == "original")
    said, taught = [], []
    if "teacher" in spec:
        taught = [Path("data/lessons") / model]
        rows, sentence = lessons.join(rows, taught[0] / "taught")
        said.append(sentence)
    base = run.base_dir(spec.base)
    inputs, begun, last = [*files, base, *taught], None, None
    if known is not None:
        inputs.append(warm_start.FOLDER / model)
        begun, last = start.read(inputs[-1] / warm_start.LAST)
        run.log.info(begun.sentence)
        said.append(begun.sentence)
    scratch = run.scratch(scratch_key.identity(spec), *inputs, keep=scratch_key.outlives_training(spec))
    with run.output(f"models/{model}") as folder, run.output(f"reports/training/{model}") as record:
        (folder / "spec.json").write_text(json.dumps(spec, ensure_ascii=False, indent=2), encoding="utf-8")
        training = learners.fit(spec, rows, dev, base, folder, scratch, last)
        training = replace(training, messages=[*said, *training.messages])
        data = {path.as_posix(): dvc_hash.of(path) for path in inputs}
        made = provenance.of(learners.package(spec), spec, data, training.took)
        if begun is not None and known is not None:
            learned.write(known, folder)
            made["start"] = asdict(begun)
        provenance.write(folder, made)
        dvclive_log.write(training, record)
        run_record.write("train", model, record / "metrics.json", training.took)


if __name__ == "__main__":
    train()
