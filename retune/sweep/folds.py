"""The training rows of a task as folds by their groups: each is the dev split of a training on the others."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from retune import stable_hash
from retune.atomic_file import replacing
from retune.data import kinds
from retune.errors import RetuneError
from retune.verify import copy

FOLDER = "folds"
PARTS = ("train", "dev")


def write(rows: Path, home: Path, kind: str, count: int, seed: int) -> None:
    """Write `count` folds of the training rows below `home`; a fold that is there already stays.

    Groups are dealt in turn in the order of a hash, so the folds have the same number of groups, give or take one.
    Altered and repeated rows are trained on with their group, and measured nowhere. Raises `RetuneError` where there
    are fewer groups than folds, or a part of a fold has too few rows to train on or to measure.
    """
    table = pl.read_parquet(rows)
    groups = table.select(pl.col("group").unique()).to_series()
    if len(groups) < count:
        raise RetuneError(f"--folds {count}: the training rows have {len(groups)} groups; a fold needs one at least")
    dealt = pl.DataFrame({"group": groups}).sort(stable_hash.units(pl.col("group"), "fold", seed), "group")
    dealt = dealt.with_columns(fold=pl.int_range(pl.len()) % count + 1)
    table = table.join(dealt, on="group", maintain_order="left")
    for number in range(1, count + 1):
        measured = pl.col("fold") == number
        parts = (table.filter(~measured), table.filter(measured & (pl.col("origin") == "original")))
        for name, part in zip(PARTS, parts, strict=True):
            targets = dict(part.group_by(kinds.of(kind).binned().alias("target")).len().rows())
            lack = kinds.of(kind).shortage(targets) if targets else "none"
            if lack is not None:
                raise RetuneError(f"--folds {count}: the {name} rows of fold {number} are {lack}: take fewer folds")
            file = home / FOLDER / str(number) / f"{name}.parquet"
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                with replacing(file) as writing:
                    part.drop("fold").write_parquet(writing)


def put(home: Path, number: int, work: Path, splits: Path) -> None:
    """Make a fold the train and dev split of a copy; `splits`: their folder there."""
    for name in PARTS:
        copy.replace(home / FOLDER / str(number) / f"{name}.parquet", work / splits / f"{name}.parquet")
