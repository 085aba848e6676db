"""The mean of what several trainings of one model answer to the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from retune.errors import RetuneError

PROBABILITY, SCORE = "prob_", "score"


def mean(tables: Sequence[pl.DataFrame], labels: Sequence[str] = ()) -> pl.DataFrame:
    """Columns id, label, prob_0 .. prob_K-1 (or score), truncated: the mean over predictions of the same rows.

    A row that some members did not answer has the mean of the others; one that none answered has nulls. `labels` are
    those of the probabilities; a ranking has none, and its scores, which members of one learner give on about the same
    scale, are averaged. Raises `RetuneError` where the members answered other rows.
    """
    ids = tables[0]["id"]
    if any(not table["id"].equals(ids) for table in tables[1:]):
        raise RetuneError("the members of an ensemble predicted other rows: run `dvc repro`")
    columns = [name for name in tables[0].columns if name.startswith(PROBABILITY) or name == SCORE]
    found = {name: _beside(tables, name).mean_horizontal().alias(name) for name in columns}
    cut = _beside(tables, "truncated").max_horizontal().alias("truncated")
    chances = [found[name] for name in columns if name != SCORE]
    if not chances:
        return pl.DataFrame([ids, *found.values(), cut])
    best = np.stack([values.fill_null(0.0).to_numpy() for values in chances]).argmax(0)
    named = pl.Series("label", [labels[place] for place in best], dtype=pl.String)
    named = pl.select(pl.when(chances[0].is_not_null()).then(named)).to_series().alias("label")
    return pl.DataFrame([ids, named, *found.values(), cut])


def _beside(tables: Sequence[pl.DataFrame], column: str) -> pl.DataFrame:
    return pl.DataFrame([table[column].alias(str(place)) for place, table in enumerate(tables)])
