"""What the splits of a task hold, before any training: targets, lengths, texts that come twice, unseen characters.

`explore` gives what `reports/explore/TASK/exploration.json` holds; `retune.report.exploration.page` shows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune import stable_hash
from retune.data.kinds.texts import normalised, written
from retune.report.exploration import (
    findings,
    lengths,
    score_histograms,
    split_overlap,
    token_lengths,
    unseen_characters,
)

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params

ROWS, CHARACTERS = 100_000, 4_000_000
"""Rows and characters of a split that are looked at; of a larger one a sample by hash, which the page says."""


def explore(frames: dict[str, pl.LazyFrame], spec: Params, kind: Kind, bases: Path) -> dict[str, Any]:
    """Everything about the splits of one task, as JSON.

    `frames` are the rows by split, `spec` the task's section `exploration`, `kind` its module of retune/data/kinds,
    `bases` the folder of the fetched checkpoints, whose tokenizers count tokens. Targets are counted over all rows, the
    rest over at most `ROWS` rows and `CHARACTERS` characters of a split.
    """
    texts = written(frames["train"], kind.TEXTS)
    frames = {name: rows.with_columns(pl.col(kind.TEXTS).cast(pl.String)) for name, rows in frames.items()}
    targets = {name: _targets(rows, kind) for name, rows in frames.items()}
    sizes = {name: sum(entry["rows"] for entry in counts.values()) for name, counts in targets.items()}
    parts = {name: _sample(rows, sizes[name], kind) for name, rows in frames.items()}
    counted = [reader for reader in spec.readers if (bases / reader.base / "tokenizer.json").is_file()]
    result: dict[str, Any] = {
        "texts": list(kind.TEXTS),
        "target": kind.TARGET,
        "labels": list(spec.labels) if kind.TARGET == "label" else [],
        "order": score_histograms.order(spec),
        "scores": score_histograms.histograms(targets, spec),
        "rows": sizes,
        "looked_at": {name: rows.height for name, rows in parts.items()},
        "targets": targets,
        "characters": {column: _characters(parts, column) for column in texts},
        "tokens": [token_lengths.tokens(reader, parts, kind.TEXTS, bases) for reader in counted],
        "uncounted": [reader.base for reader in spec.readers if reader not in counted],
        **split_overlap.of(parts, kind),
        "doubts": None,  # what stage `explore` adds: models judge there
        "unseen": unseen_characters.of(parts, kind.TEXTS),
    }
    leaks = findings.leaks(result)
    return result | {
        "facts": findings.facts(result),
        "leaks": leaks,
        "warnings": [*leaks, *findings.warnings(result)],
    }


def _targets(rows: pl.LazyFrame, kind: Kind) -> dict[str, dict[str, int]]:
    """Target -> rows and how many of them are augmented."""
    counts = rows.group_by(kind.binned().alias("target")).agg(
        rows=pl.len(), augmented=(pl.col("origin") != "original").sum()
    )
    return {row.pop("target"): row for row in counts.sort("target").collect(engine="streaming").to_dicts()}


def _characters(parts: dict[str, pl.DataFrame], column: str) -> dict[str, Any]:
    return lengths.of({name: part[column].str.len_chars() for name, part in parts.items()})


def _sample(rows: pl.LazyFrame, size: int, kind: Kind) -> pl.DataFrame:
    """Id, texts, target and origin of the rows looked at, in their order, with each text normalised as `plain_I`."""
    long = rows.select(pl.sum_horizontal(pl.col(c).str.len_chars() for c in kind.TEXTS).sum()).collect().item()
    share = min(1.0, ROWS / max(size, 1), CHARACTERS / max(long, 1))
    if share < 1:
        rows = rows.filter(stable_hash.units(pl.col("id"), "explore") < share)
    return rows.select(
        "id", *kind.TEXTS, kind.TARGET, "origin",
        *(normalised(column).alias(f"plain_{i}") for i, column in enumerate(kind.TEXTS)),
    ).collect(engine="streaming")  # fmt: skip
