"""Which rows of the tasks are different at two revisions, in words, for the comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from retune.data import kinds
from retune.data.changes import changes, sentences
from retune.data.split import SPLITS
from retune.errors import RetuneError
from retune.report.revisions import Revision


def notes(before: Revision, after: Revision) -> Iterator[str]:
    """A line for each task of both revisions whose splits have other rows; or why that can't be told."""
    for task, spec in after.resolved.tasks.items():
        old, new = (revision.outputs.get(f"data/splits/{task}", {}).get("md5") for revision in (before, after))
        if old is None or new is None or old == new:
            continue
        kind = kinds.of(spec.kind)
        try:
            found = changes(_splits(before, task), _splits(after, task), kind)
        except RetuneError as error:
            yield f"{task}: which rows are new can't be told: {error}"
            continue
        if found is None or not (found.moved or found.retargeted or len(found.new) or len(found.gone)):
            continue
        yield f"{task}: {'. '.join(_capital(said) for said in sentences(found, kind, before.name))}"


def _splits(revision: Revision, task: str) -> dict[str, pl.LazyFrame]:
    return {name: revision.table(f"data/splits/{task}/{name}.parquet").lazy() for name in SPLITS}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
