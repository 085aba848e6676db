"""Which split a row belongs to, by a hash of its group; and what the splits share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import polars as pl

from retune import stable_hash
from retune.data.kinds.texts import written
from retune.data.leaks import sharing
from retune.data.shared_texts import shared, unordered
from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params

CATALOG = "data/catalog.yaml"

EXPECTED = 10
"""Groups that the smallest split should expect, so that it has rows of both labels with some certainty."""

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


def assign(rows: pl.LazyFrame, spec: Params, official: set[str], to_train: Sequence[str] = ()) -> pl.LazyFrame:
    """Replace the official split of every row by its split; augmented rows outside train are left out.

    An official dev, calibration or test row stays where it is. All others, rows of an official train split included,
    are divided by a hash of (seed, group) among train and those splits that the source lacks, with `shares`. So
    appended rows move no old row, and no group is in two splits, but for those that the source divided itself. The
    groups `to_train` go there whatever their hash.
    """
    number = stable_hash.units(pl.col("group"), "split", spec.seed).alias("number")
    cut = shares(spec, official)
    ours = pl.lit("train")
    for name, bound in reversed(list(zip(cut, accumulate(cut.values()), strict=True))):
        ours = pl.when(pl.col("number") < bound).then(pl.lit(name)).otherwise(ours)
    if to_train:
        ours = pl.when(pl.col("group").is_in(list(to_train))).then(pl.lit("train")).otherwise(ours)
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


def summary(
    rows: pl.LazyFrame, left_out: int, spec: Params, official: set[str], kind: Kind, dropped: int = 0
) -> dict[str, Any]:
    """Counts per split of the assigned `rows`, and what two splits share; `left_out` rows were augmented in vain.

    `targets` counts the rows by the kind's binned target. `shared_texts` leaves out columns of a few fixed values.
    `sharing` counts rows (retune.data.leaks), `dropped` those that `drop_shared` took out of train.
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
        "groups": spec.get("groups", "rows"),
        "shared_dropped": dropped,
        "sharing": sharing(rows, kind),
        "shared_texts": shared(rows, written(rows, kind.TEXTS), SPLITS),
        "shared_groups": shared(rows, ["group"], SPLITS),
        "shared_pairs": shared(
            originals.select("split", unordered([pl.col(name).cast(pl.String) for name in kind.TEXTS]).alias("pair")),
            ["pair"],
            SPLITS,
        ),
    }


def check(summary: dict[str, Any], kind: Kind) -> None:
    """Raise `RetuneError` for splits without rows, or whose targets are too few to measure anything."""
    splits, official = summary["splits"], summary["official"]
    short = {}
    for name, counts in splits.items():
        problem = kind.shortage(counts["targets"]) if counts["rows"] else ""
        if problem is not None:
            short[name] = f"{counts['rows']:,} rows, {problem}" if problem else "no rows"
    for name in official:
        if name in short:
            raise RetuneError(f"the official split `{name}` has {short[name]}: see the source's `tables` in {CATALOG}")
    if short:
        raise RetuneError(_shortage(summary, kind, short))


def _shortage(summary: dict[str, Any], kind: Kind, short: dict[str, str]) -> str:
    """What the splits `short` lack, which are dealt by chance, and what a user can do about the first of them."""
    splits, wanted = summary["splits"], summary["shares_wanted"]
    targets: dict[str, int] = {}
    for name in wanted:
        for target, number in splits[name]["targets"].items():
            targets[target] = targets.get(target, 0) + number
    rows, groups = sum(targets.values()), sum(splits[name]["groups"] for name in wanted)
    if rows and (problem := kind.shortage(targets)):
        return (
            f"the {rows:,} rows that are divided are {problem}, so no share and no seed can help: the source needs "
            f"rows with another {kind.TARGET} (if it has some, see `columns.{kind.TARGET}` and its `map` in {CATALOG})"
        )
    said = [f"`{name}` has {what} (a share of {wanted[name]:g} of {groups:,} groups)" for name, what in short.items()]
    start, first = f"the split {'; '.join(said)}", next(iter(short))
    reduced_train = first == "train" and summary["data_ratio"] < 1
    enough = math.ceil(EXPECTED / min((wanted[name] for name in CUT if wanted.get(name)), default=1.0))
    if groups < enough and wanted[first] and not reduced_train:
        return (
            f"{start}: rows are dealt by a hash, which needs some {enough:,} groups for such shares; give the task "
            f"more data, or name each row's split yourself (`split` of a table, or `columns.split`, in {CATALOG})"
        )
    remedy = "a smaller dev, calibration and test" if first == "train" else f"a larger `split.{first}`"
    if reduced_train:
        remedy = "a larger `data_ratio`"
    if first == "train" and (dropped := summary["shared_dropped"]):
        remedy = f"`split.groups: connected` instead of `split.drop_shared` (which took {dropped:,} rows out of train)"
    if summary["groups"] == "connected":
        remedy += ", `split.groups: rows` (texts connect most rows)"
    return f"{start}: give the task more data or groups, {remedy}, or another `split.seed`"
