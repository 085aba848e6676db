"""The most doubtful rows of a built exploration, with their texts: for a terminal, and for Label Studio."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retune import params
from retune.atomic_file import replacing
from retune.data import kinds
from retune.doubts import label_studio
from retune.errors import RetuneError, unknown

WIDTH = 80
"""Characters of a text in a line of a terminal."""


@dataclass(frozen=True)
class Review:
    """Rows (id, texts, label, likeliest, surety, by_MODEL), most doubtful first; the columns of texts; the labels."""

    rows: list[dict[str, Any]]
    texts: tuple[str, ...]
    labels: list[str]


def read(project: Path, task: str, count: int) -> Review:
    """The first `count` rows of reports/explore/TASK/doubts.parquet; raises `RetuneError` where there are none."""
    known = params.load(project / params.RESOLVED).tasks
    if task not in known:
        raise RetuneError(unknown("task", task, list(known)))
    spec, file = known[task].exploration, project / f"reports/explore/{task}/doubts.parquet"
    if "doubts" not in spec:
        raise RetuneError(
            f"{task} is a {spec.kind}: wrong labels are looked for in tasks of kind classification and pair"
        )
    if not spec.doubts:
        raise RetuneError(f"exploration.doubts of {task} is 0, so wrong labels are not looked for: give it a number")
    if not file.is_file():
        raise RetuneError(
            f"{file} is missing: `dvc repro explore@{task}` writes it, if training rows have two labels in two groups"
        )
    texts = kinds.of(spec.kind).TEXTS
    train = pl.scan_parquet(project / f"data/splits/{task}/train.parquet")
    table = pl.read_parquet(file).head(count)
    rows = train.filter((pl.col("origin") == "original") & pl.col("id").is_in(table["id"].implode()))
    found = table.join(rows.select("id", *texts).collect(), on="id", maintain_order="left")
    if len(found) < len(table):
        raise RetuneError(f"{file} is older than data/splits/{task}: run `dvc repro explore@{task}` again")
    return Review(found.select("id", *texts, pl.exclude("id", *texts)).to_dicts(), texts, list(spec.labels))


def write(review: Review, out: Path) -> Path:
    """Write tasks for Label Studio into `out`, and the labelling interface beside it, whose path is returned."""
    interface = out.with_suffix(".xml")
    tasks = json.dumps(label_studio.tasks(review.rows, review.texts), ensure_ascii=False, indent=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    for file, text in ((out, tasks + "\n"), (interface, label_studio.interface(review.texts, review.labels))):
        with replacing(file) as part:
            part.write_text(text, encoding="utf-8")
    return interface


def lines(review: Review) -> list[str]:
    """A few words about each row."""
    found = []
    for row in review.rows:
        texts = " | ".join(_short(row[column]) for column in review.texts)
        found.append(f"{row['surety']:.3f}  {row['label']} -> {row['likeliest']}  {texts}  (id {row['id']})")
    return found


def _short(text: str) -> str:
    whole = " ".join(text.split())
    return whole if len(whole) <= WIDTH else whole[: WIDTH - 1] + "…"
