"""Ask a model's teacher about the rows that the model learns from (`python -m stages.teach intent_encoder`)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from retune import learners, params, stable_hash
from retune.data import kinds, lessons
from retune.data.convert import unlabelled
from retune.errors import RetuneError
from retune.evaluation import lesson
from retune.params import Params
from retune.pipeline.stage import Stage, stage
from retune.training import provenance

MEASURED = ("dev", "calibration", "test")


@stage
def teach(run: Stage, model: str) -> None:
    """Write what the teacher says of the training rows and of the unlabelled ones, which are like no measured row."""
    given = run.params.students[model]
    kind, built = kinds.of(given.kind), Path("models") / given.teacher
    rows = pl.read_parquet(run.split_file(given.task, "train"))
    if not given.augmented:
        rows = rows.filter(pl.col("origin") == "original")
    more = rows.clear().select("id", "group", *kind.TEXTS)
    if "unlabelled" in given:
        measured = [pl.read_parquet(run.split_file(given.task, split)) for split in MEASURED]
        found = unlabelled.read(given, Path("data/raw") / given.task, run.scratch(given))
        more = chosen(unlabelled.apart(found, rows, measured, kind), given.unlabelled_rows)
    asked = pl.concat([rows.select("id", *kind.TEXTS), more.select("id", *kind.TEXTS)], how="vertical_relaxed")
    texts = asked.unique(kind.TEXTS, keep="first", maintain_order=True)  # copies of a row are asked for once
    spec = params.load(built / "spec.json")
    predictor = learners.load(spec, built, run.base_dir(spec.base), given.hardware, given.get("generation", Params()))
    if said := provenance.warning(built, learners.package(spec), predictor):
        run.log.warning("%s", said)
    fitted = json.loads(Path(f"data/calibrations/{given.task}/{given.teacher}.json").read_text(encoding="utf-8"))
    answers = texts.join(
        lesson.of(predictor.predict(texts), fitted, given), on="id", how="inner", maintain_order="left"
    )
    told = asked.join(answers.drop("id"), on=kind.TEXTS, how="inner", maintain_order="left").select("id", "lesson")
    if told.is_empty():
        raise RetuneError(f"{given.teacher} answered none of {len(asked):,} rows, so it teaches nothing")
    more = more.filter(pl.col("id").is_in(told["id"].implode()))
    counts = {
        "teacher": given.teacher,
        "rows": len(rows),
        "unlabelled": len(more),
        "unanswered": len(asked) - len(told),
    }
    run.log.info(
        "%s: %d lessons for %d training rows and %d unlabelled", given.teacher, len(told), len(rows), len(more)
    )
    with run.output(f"data/lessons/{model}/taught") as folder:
        lessons.write(folder, told, more, counts)


def chosen(rows: pl.DataFrame, limit: int | None) -> pl.DataFrame:
    """At most so many rows, by a hash of their ids, in their order."""
    if limit is None or len(rows) <= limit:
        return rows
    number = stable_hash.units(pl.col("id"), "unlabelled", 0)
    return rows.filter(number.rank("ordinal") <= limit)


if __name__ == "__main__":
    teach()
