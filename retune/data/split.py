"""Which split a row belongs to, by a hash of its group; and what the splits share."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import polars as pl

from retune import stable_hash
from retune.data.kinds.texts import written
from retune.data.shared_texts import shared, unordered
from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params

SPLITS = ("train", "dev", "calibration", "test")
CUT = ("test", "calibration", "dev")
"""The splits that are cut off, in this order; the rest is train. So a larger dev takes rows from train only."""


def shares(spec: Params, official: set[str]) -> dict[str, float]:
    """The shares of `CUT`: those of `spec`, but 0 for a split that the source brings itself; train gets that share."""
    return {name: 0.0 if name in official else float(spec[name]) for name in CUT}


def official_splits(rows: pl.LazyFrame) -> set[str]:
    """The official splits other than train."""
    names = rows.select(pl.col("split").cast(pl.String).unique()).collect(engine="streaming")["split"]
    return set(names.drop_nulls()) - {"train"}


def assign(rows: pl.LazyFrame, spec: Params, official: set[str]) -> pl.LazyFrame:
    """Replace the official split of every row by its split; augmented rows outside train are left out.

    An official dev, calibration or test row stays where it is. All others, rows of an official train split included,
    are divided by a hash of (seed, group) among train and those splits that the source lacks, with `shares`. So
    appended rows move no old row, and no group is in two splits, but for those that the source divided itself.
    """
    number = stable_hash.units(pl.col("group"), "split", spec.seed).alias("number")
    cut = shares(spec, official)
    ours = pl.lit("train")
    for name, bound in reversed(list(zip(cut, accumulate(cut.values()), strict=True))):
        ours = pl.when(pl.col("number") < bound).then(pl.lit(name)).otherwise(ours)
    fixed = pl.col("split").is_not_null() & (pl.col("split") != "train")
    rows = rows.with_columns(number, pl.col("split").cast(pl.String))
    rows = rows.with_columns(pl.when(fixed).then("split").otherwise(ours).alias("split")).drop("number")
    return rows.filter((pl.col("origin") == "original") | (pl.col("split") == "train"))


def reduced(rows: pl.LazyFrame, spec: Params) -> pl.LazyFrame:
    """The assigned `rows` without the training groups beyond the share `spec.data_ratio`; other splits stay whole.

    By a hash of (seed, group), so the groups of a smaller share are among those of a larger one.
    """
    number = stable_hash.units(pl.col("group"), "data_ratio", spec.seed)
    return rows.filter((pl.col("split") != "train") | (number < spec.data_ratio))


def summary(rows: pl.LazyFrame, left_out: int, spec: Params, official: set[str], kind: Kind) -> dict[str, Any]:
    """Counts per split of the assigned `rows`, and what two splits share; `left_out` rows were augmented in vain.

    `targets` counts the rows by the kind's binned target. `shared_texts` leaves out columns of a few fixed values.
    Shares are of the original rows that no official split holds. `shared_pairs` counts rows' texts in either order.
    """
    ratio = spec.get("data_ratio", 1.0)
    counts = rows.group_by("split").agg(
        rows=pl.len(),
        groups=pl.col("group").n_unique(),
        augmented=(pl.col("origin") != "original").sum(),
    )
    by_split = {row.pop("split"): row for row in counts.collect(engine="streaming").to_dicts()}
    nothing = {"rows": 0, "groups": 0, "augmented": 0}
    binned = rows.group_by("split", kind.binned().alias("target")).len().sort("split", "target")
    by_target = binned.collect(engine="streaming")
    splits = {
        name: {**by_split.get(name, nothing), "targets": dict(by_target.filter(split=name)["target", "len"].rows())}
        for name in SPLITS
    }
    ours = {name: entry["rows"] - entry["augmented"] for name, entry in splits.items() if name not in official}
    cut = shares(spec, official)
    wanted = {"train": ratio * (1 - sum(cut.values())), **cut}
    whole = sum(wanted.values())
    originals = rows.filter(pl.col("origin") == "original")
    return {
        "splits": splits,
        "official": sorted(official),
        "balance": spec.get("balance", "none"),
        "data_ratio": ratio,
        "shares_wanted": {name: wanted[name] / whole for name in ours},
        "shares_got": {name: count / max(sum(ours.values()), 1) for name, count in ours.items()},
        "augmented_left_out": left_out,
        "shared_texts": shared(rows, written(rows, kind.TEXTS), SPLITS),
        "shared_groups": shared(rows, ["group"], SPLITS),
        "shared_pairs": shared(
            originals.select("split", unordered([pl.col(name).cast(pl.String) for name in kind.TEXTS]).alias("pair")),
            ["pair"],
            SPLITS,
        ),
    }


def check(summary: dict[str, Any], kind: Kind) -> None:
    """Raise `RetuneError` for a split without rows, or whose targets are too few to measure anything."""
    for name, counts in summary["splits"].items():
        problem = kind.shortage(counts["targets"]) if counts["rows"] else ""
        if problem is None:
            continue
        what = f"{counts['rows']:,} rows, {problem}" if problem else "no rows"
        if name in summary["official"]:
            raise RetuneError(f"the official split `{name}` has {what}: see the source's `tables` in data/catalog.yaml")
        groups = sum(entry["groups"] for split, entry in summary["splits"].items() if split not in summary["official"])
        share = summary["shares_wanted"][name]
        remedy = "a smaller dev, calibration and test" if name == "train" else f"a larger `split.{name}`"
        if name == "train" and summary["data_ratio"] < 1:
            remedy = "a larger `data_ratio`"
        raise RetuneError(
            f"the split `{name}` has {what} (a share of {share:g} of {groups:,} groups): "
            f"give the task more data or groups, {remedy}, or another `split.seed`"
        )
