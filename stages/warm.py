"""Keep a model's last version as the start of the next (`python -m stages.warm intent_encoder`)."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl

from retune import params
from retune.data import kinds, learned
from retune.params import Params
from retune.pipeline import dvc_hash, last_build, warm_start
from retune.pipeline.stage import Stage, stage
from retune.training import provenance, start
from retune.training.start import Start


@stage
def warm(run: Stage, model: str) -> None:
    """Write data/starts/MODEL/last: the model that lies in models/MODEL now where it fits, else why not."""
    spec, last = run.start(model), Path("models") / model
    rows = pl.read_parquet(run.split_file(spec.task, "train"))
    found = chosen(
        spec, last, learned.of(rows, kinds.of(spec.kind)), last_build.model_hash(model), run.base_dir(spec.base)
    )
    (run.log.warning if found.cold else run.log.info)(found.sentence)
    with run.output(warm_start.FOLDER / model / warm_start.LAST) as folder:
        start.write(found, folder)
        if found.of:
            shutil.copytree(last, folder / start.MODEL)


def chosen(spec: Params, last: Path, now: pl.DataFrame, built: str | None, base: Path) -> Start:
    """The start of a model from the folder `last`, whose hash should be `built`; `now`: today's training rows."""
    if built is None or not last.is_dir():
        return Start(start.ABSENT)
    if (of := dvc_hash.of(last)) != built:
        return Start(start.CHANGED)
    had = params.load(last / "spec.json")
    unfit = start.unfit(had, spec)
    if not unfit and provenance.read(last).get("data", {}).get(base.as_posix()) != dvc_hash.of(base):
        unfit = f"its last version was made from other files of {base}"
    then = learned.read(last)
    labels = tuple(label for label in spec.get("labels", ()) if label not in had.get("labels", ()))
    return start.decide(unfit, None if then is None else learned.changes(then, now), labels, of)


if __name__ == "__main__":
    warm()
