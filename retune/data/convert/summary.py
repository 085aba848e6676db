"""The counts of a conversion, for the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune.data.convert import duplicates
from retune.data.convert.duplicates import Plan
from retune.data.convert.row_schema import Rows
from retune.data.shared_texts import shared

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind


def summary(rows: Rows, plan: Plan, kind: Kind, source: str, raw: Path, left_out: dict[str, int]) -> dict[str, Any]:
    """Counts by file, of rejects by reason, duplicates, conflicts, labels, official splits and texts they share.

    `left_out` are the records of files whose table has a `where`: they count among the records.
    """
    kept, rejected = duplicates.kept(rows, plan), duplicates.rejected(rows, plan)
    files, good, bad = _counts(rows.every, "$file"), _counts(kept, "$file"), _counts(rejected, "$file")
    again = _counts(rows.valid.filter(pl.col("$index").is_in(plan.duplicates.implode())), "$file")
    reasons = _counts(rejected, "$rule")
    splits = _counts(kept.filter(pl.col("split").is_not_null()), "split")
    files |= {file: files.get(file, 0) + count for file, count in left_out.items()}
    card = raw / "SOURCE.json"
    return {
        "source": source,
        "license": json.loads(card.read_text(encoding="utf-8")).get("license") if card.is_file() else None,
        "records": sum(files.values()),
        "rows": sum(good.values()),
        "rejected": sum(bad.values()),
        **({"left_out": sum(left_out.values())} if left_out else {}),
        "duplicates": len(plan.duplicates),
        "conflicts": plan.conflicts["texts"].n_unique(),
        "files": {
            file: {
                "records": count,
                "rows": good.get(file, 0),
                "rejected": bad.get(file, 0),
                **({"left_out": left_out[file]} if file in left_out else {}),
                "duplicates": again.get(file, 0),
            }
            for file, count in files.items()
        },
        "reasons": dict(sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))),
        "targets": _counts(kept.select(kind.binned().alias("target")), "target"),
        "splits": splits,
        "shared_texts": shared(kept, kind.TEXTS, list(splits)),
    }


def _counts(rows: pl.LazyFrame, column: str) -> dict[str, int]:
    """Rows by value of a column, in the order of the values."""
    counts = rows.group_by(column).len().sort(column).collect(engine="streaming")
    return {str(value): count for value, count in counts.iter_rows()}
