"""Write a model as a folder for others, and prove that it answers alike (`python -m stages.export intent_encoder`)."""

from __future__ import annotations

import json

import polars as pl

from retune import exports, learners
from retune.exports import folder as folders
from retune.exports import hashes, parity
from retune.pipeline.stage import Stage, stage


@stage
def export(run: Stage, name: str) -> None:
    """Write the folder and its cards, open it by the foreign loader, and compare; a failed parity fails the stage."""
    built = folders.built(run.params.exports[name], run.base_dir)
    rows = pl.read_parquet(run.split_file(built.spec.task, "calibration"))
    with run.output(f"exports/{name}") as out, run.output(f"reports/metrics/parity/{name}.json") as file:
        form = exports.of(learners.package(built.spec), bool(built.given.get("onnx")))
        exported = form.write(built, out)
        folders.write_card(built, exported, out)
        files = hashes.of(out)
        found = parity.prove(built, form, out, rows)
        if built.given.get("onnx") == "int8" and (quantise := getattr(form, "quantise", None)):
            exported, found = quantise(built, exported, out, rows, found)
            files = hashes.of(out)
            run.log.info(folders.quality_in_words(found["quality"]))
        folders.write_readme(built, exported, found, out)
        for target, said in ((out / parity.FILE, found | {"files": files}), (file, found)):
            target.write_text(json.dumps(said, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        run.log.info(parity.words(found))


if __name__ == "__main__":
    export()
