"""Which mapped rows break the schema of their task kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

ORIGIN = ("$index", "$file", "$line", "$row")
"""Where a row comes from: place among all records, file, line (from 1), and the text of its record."""

NEEDS = "needs_"
"""What the name of a schema's rule begins with that asks for a column in some rows only."""


@dataclass(frozen=True)
class Rows:
    """All records, those that satisfy the schema, and the others with `$reason`; each with the columns `ORIGIN`."""

    every: pl.LazyFrame
    valid: pl.LazyFrame
    rejected: pl.LazyFrame


def check(mapped: list[Path], schema: Any, scratch: Path) -> Rows:
    """Sort the rows of the mapped files into valid and rejected ones, in files in `scratch`."""
    import dataframely as dy  # not at module level: it takes as long to import as the rest of the stage

    every = pl.scan_parquet(mapped, glob=False).with_row_index("$index").with_columns(pl.col("$index").cast(pl.Int64))
    numbers = {name: dy.Int64(alias=name, nullable=True) for name in ("$index", "$line")}
    texts = {name: dy.String(alias=name, nullable=True) for name in ("$file", "$row", "$key")}
    # `id` without its uniqueness, which would need all rows at once and reject the first of two as well: see unique.py.
    checked = type("Checked", (schema,), {"id": dy.String(), **numbers, **texts})
    good, failed = checked.filter(every.filter(pl.col("$reason").is_null()).drop("$reason"))  # type: ignore[attr-defined]
    good.sink_parquet(scratch / "valid.parquet")
    failed.sink_parquet(scratch / "failed.parquet")
    failures = pl.scan_parquet(scratch / "failed.parquet")
    rules = [name for name in failures.collect_schema() if "|" in name or name.startswith(NEEDS)]
    reasons = [pl.when(~pl.col(rule)).then(_reason(rule, schema.columns())) for rule in rules]
    reason = pl.concat_str(reasons, separator="; ", ignore_nulls=True).alias("$reason")
    unmapped = every.filter(pl.col("$reason").is_not_null()).select(*ORIGIN, "$reason")
    return Rows(
        every, pl.scan_parquet(scratch / "valid.parquet"), pl.concat([unmapped, failures.select(*ORIGIN, reason)])
    )


LIMITS = {
    "min": "is below {}, the least that is allowed",
    "max": "is above {}, the most that is allowed",
    "min_exclusive": "must be above {}",
    "min_length": "has fewer than {} characters",
}
"""Rule of a schema -> how a value breaks it."""


def _reason(rule: str, columns: dict[str, Any]) -> pl.Expr:
    column, _, name = rule.removeprefix(NEEDS).partition("|")
    if name == "nullability" or rule.startswith(NEEDS):
        return pl.lit(f"`{column}` is missing")
    broken = LIMITS[name].format(getattr(columns[column], name)) if name in LIMITS else "is no finite number"
    return pl.concat_str(pl.lit(f'`{column}` {broken}: "'), pl.col(column).cast(pl.String), pl.lit('"'))
