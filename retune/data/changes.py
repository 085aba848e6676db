"""What is different between two builds of a task's rows, in words: new and gone rows, labels, splits, rejects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind

LISTED, SHOWN = 12, 3
"""Values of the target that are listed for a split, and rejects that are shown."""


@dataclass(frozen=True)
class Changes:
    """Original rows of two builds, matched by their texts: first those of one target and split, then of one target.

    `same`, `moved` (another split) and `retargeted` are counts; `new` and `gone` have the columns split and target.
    `targets` are the values that rows had before, and have now.
    """

    same: int
    moved: int
    retargeted: int
    new: pl.DataFrame
    gone: pl.DataFrame
    targets: tuple[set[str], set[str]]


def changes(before: Mapping[str, pl.LazyFrame], after: Mapping[str, pl.LazyFrame], kind: Kind) -> Changes | None:
    """Compare the rows of two builds by split; None where the earlier ones are of another kind."""
    needed = {*kind.TEXTS, kind.TARGET, "origin"}
    if any(not needed <= set(rows.collect_schema()) for rows in before.values()):
        return None
    old, new = _rows(before, kind), _rows(after, kind)
    targets = set(old["target"].unique()), set(new["target"].unique())
    matched = []
    for key in (["text", "target", "split"], ["text", "target"], ["text"]):
        number = pl.int_range(pl.len()).over(key).alias("number")
        old, new = old.with_columns(number), new.with_columns(number)
        left = (
            old.join(new, on=[*key, "number"], how="anti", maintain_order="left"),
            new.join(old, on=[*key, "number"], how="anti", maintain_order="left"),
        )
        matched.append(len(new) - len(left[1]))
        old, new = left
    same, moved, retargeted = matched
    return Changes(same, moved, retargeted, new.select("split", "target"), old.select("split", "target"), targets)


def _rows(splits: Mapping[str, pl.LazyFrame], kind: Kind) -> pl.DataFrame:
    """A hash of the texts, the target and the split of every original row."""
    text = pl.concat_str([pl.col(name).cast(pl.String) for name in kind.TEXTS], separator="\x1f").hash().alias("text")
    parts = [
        rows.filter(pl.col("origin") == "original").select(text, kind.binned().alias("target"), split=pl.lit(name))
        for name, rows in splits.items()
    ]
    return pl.concat(parts).collect(engine="streaming")


def sentences(found: Changes, kind: Kind, since: str = "the last build") -> list[str]:
    """What a log says: one line where nothing changed, a few where rows are new or gone."""
    new, gone = len(found.new), len(found.gone)
    if not (new or gone or found.moved or found.retargeted):
        return [f"since {since}: the same {found.same:,} rows in the same splits"]
    counts = [
        f"{new:,} new {'row' if new == 1 else 'rows'}",
        *([f"{gone:,} gone"] if gone else []),
        *([f"{found.retargeted:,} with another {kind.TARGET}"] if found.retargeted else []),
        *([f"{found.moved:,} moved to another split"] if found.moved else []),
    ]
    said = [f"since {since}: {', '.join(counts)}; {found.same:,} as before, in the same splits"]
    if new:
        said.append(f"new rows by {kind.TARGET}: {_by_split(found.new)}")
    if gone:
        said.append(f"gone rows by {kind.TARGET}: {_by_split(found.gone)}")
    before, after = found.targets
    for word, values in (("new", after - before), ("without rows now", before - after)):
        if values:
            said.append(f"{kind.TARGET}s that are {word}: {_listed(sorted(values))}")
    return said


def _by_split(rows: pl.DataFrame) -> str:
    """`train a 5, b 3; test a 1`: splits in the order of the rows, targets by their number."""
    counts = rows.group_by("split", "target").len()
    said = []
    for split in rows["split"].unique(maintain_order=True):
        of = counts.filter(pl.col("split") == split).sort(-pl.col("len").cast(pl.Int64), "target")
        said.append(f"{split} {_listed([f'{target} {n:,}' for target, n in of.select('target', 'len').iter_rows()])}")
    return "; ".join(said)


def _listed(values: list[str]) -> str:
    more = f", and {len(values) - LISTED} more" if len(values) > LISTED else ""
    return ", ".join(values[:LISTED]) + more


def rejects(before: Path, after: Path) -> list[str]:
    """What a log says of two lists of rejects (retune.data.convert.rejects); nothing where they are the same."""
    old, new = (Counter(_reject(line) for line in _lines(file)) for file in (before, after))
    come, went = new - old, old - new
    if not come and not went:
        return []
    said = [f"rejects since the last build: {come.total():,} new, {went.total():,} gone"]
    for reject in map(json.loads, _lines(after)):
        if len(said) <= SHOWN and come[key := _key(reject)] > 0:
            come[key] -= 1
            said.append(f"  {reject['file']}:{reject['line']}: {reject['reason']}")
    if come.total():
        said.append(f"  and {come.total():,} more")
    return said


def _lines(file: Path) -> Iterable[str]:
    with file.open(encoding="utf-8") as stream:
        yield from (line for line in stream if line.strip())


def _reject(line: str) -> tuple[str, str, str]:
    return _key(json.loads(line))


def _key(reject: dict[str, object]) -> tuple[str, str, str]:
    """A reject without its line: rows before it may have come or gone."""
    return str(reject["file"]), str(reject["reason"]), str(reject["row"])
