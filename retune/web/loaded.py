"""A model of the page: asked by one request at a time, with what its project knows of its mistakes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from retune import progress
from retune.data.labels import names
from retune.exports.decisions import decide
from retune.inference import Model

EXAMPLES = 5
EXAMPLE_LENGTH = 2000
"""Examples are rows of the test split with texts of at most so many characters, the first there are."""


@dataclass(frozen=True)
class Loaded:
    """A model, and the predictions of its project: columns truth, label, prob_LABEL of each, or None.

    `calibration` are those of the calibration rows, `seen` those of the calibration and test rows.
    """

    model: Model
    calibration: pl.DataFrame | None = None
    seen: pl.DataFrame | None = None
    examples: Sequence[dict[str, str]] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kind(self) -> str:
        """Its kind of task."""
        return str(self.model.spec.kind)

    @property
    def labels(self) -> list[str]:
        """The labels in the order of the training; those of scores are numbers."""
        return [str(label) for label in self.model.spec.labels]

    @property
    def threshold(self) -> float | None:
        """From which probability on the second label is decided; None where the likeliest label is."""
        found = self.model.fitted.get("threshold")
        return None if found is None else float(found)

    @property
    def dimensions(self) -> list[str]:
        """What documents are scored in, of kind scoring."""
        return list(self.model.spec.get("dimensions", ()))

    @contextmanager
    def alone(self) -> Iterator[Model]:
        """The model, which no other request asks in the meantime."""
        with self.lock, progress.hidden():
            yield self.model


def of(model: Model) -> Loaded:
    """A model with what lies beside it, where it is one of a project (models/NAME, of no other revision)."""
    project = model.folder.absolute().parents[1]
    if model.revision or model.folder.parent.name != "models":
        return Loaded(model)
    calibration, seen = None, None
    if model.spec.kind in ("pair", "classification"):
        parts = {split: _decided(model, project, split) for split in ("calibration", "test")}
        found = [part for part in parts.values() if part is not None]
        calibration, seen = parts["calibration"], pl.concat(found) if found else None
    return Loaded(model, calibration, seen, _examples(model, project))


def _decided(model: Model, project: Path, split: str) -> pl.DataFrame | None:
    """What the model decides about the rows of a split, by its stored predictions; None where they are not here."""
    file = project / "data/predictions" / model.spec.task / model.name / f"{split}.parquet"
    rows = project / "data/splits" / model.spec.task / f"{split}.parquet"
    labels = [str(label) for label in model.spec.labels]
    needed = ["id", "truncated", *names(len(labels))]
    if not file.is_file() or not rows.is_file() or not set(needed) <= set(pl.read_parquet_schema(file)):
        return None
    truth = pl.read_parquet(rows, columns=["id", "label"]).select("id", pl.col("label").cast(pl.String).alias("truth"))
    predicted = pl.read_parquet(file, columns=needed).join(truth, on="id", maintain_order="left")
    answers = {name: value for name, value in model.fitted.items() if name != "abstain_below"}  # of every row
    decided = decide(predicted, answers, labels).select("label", *(f"prob_{label}" for label in labels))
    return predicted.select("truth").hstack(decided).drop_nulls()


def _examples(model: Model, project: Path) -> list[dict[str, str]]:
    """Texts of the task's test rows: short ones, each once; of rankings the documents of a query, a line each."""
    file = project / "data/splits" / model.spec.task / "test.parquet"
    texts = [name for name in model.texts if name != "dimension"]
    if not file.is_file() or not set(texts) <= set(pl.read_parquet_schema(file)):
        return []
    rows = (
        pl.read_parquet(file, columns=texts).select(pl.all().cast(pl.String)).drop_nulls().unique(maintain_order=True)
    )
    if model.spec.kind == "ranking":
        line = pl.col("document").str.replace_all(r"\s+", " ")
        rows = rows.group_by("query", maintain_order=True).agg(line.str.join("\n"))
    else:
        rows = rows.filter(pl.all_horizontal(pl.all().str.len_chars() <= EXAMPLE_LENGTH))
    return rows.head(EXAMPLES).to_dicts()


def key(one: Loaded) -> str:
    """What models must share to be asked by one form: the task, its texts, labels and dimensions."""
    spec = one.model.spec
    return json.dumps([one.kind, spec.task, list(one.model.texts), one.labels, one.dimensions])


def groups(models: Sequence[Loaded]) -> list[list[Loaded]]:
    """The models by `key`, in the order in which they were named."""
    found: dict[str, list[Any]] = {}
    for one in models:
        found.setdefault(key(one), []).append(one)
    return list(found.values())
