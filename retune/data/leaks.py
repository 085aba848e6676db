"""Texts of train that stand in another split: how many rows hold one, how that is said, and a train without them.

Texts are compared normalised, in all columns of `kind.IDENTIFYING`, so that a text of a pair counts in both places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from retune.data.kinds.texts import normalised

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind

SOME = 0.01
"""Share of a split's rows up to which leaks are a fact, and no warning."""


def sharing(rows: pl.LazyFrame, kind: Kind) -> dict[str, int]:
    """Rows by split that share a text: of train with any other split, of the others with train; no zeros.

    Holds ids and a hash of each text in memory.
    """
    found = _by_row(rows, kind)
    train, other = found.filter(pl.col("split") == "train"), found.filter(pl.col("split") != "train")
    sides = ((train, other), (other, train))
    counts = [one.filter(_shares(across)).group_by("split").len() for one, across in sides]
    return {split: int(number) for split, number in pl.concat(counts).sort("split").iter_rows()}


def without(rows: pl.LazyFrame, kind: Kind) -> pl.LazyFrame:
    """The rows without those of train that hold a text of another split, and without what was made of these."""
    found = _by_row(rows, kind)
    train = found.filter(pl.col("split") == "train")
    gone = train.filter(_shares(found.filter(pl.col("split") != "train")))["id"].implode()
    source = pl.col("id").str.strip_suffix(pl.concat_str(pl.lit("+"), "origin"))
    return rows.filter((pl.col("split") != "train") | ~(pl.col("id").is_in(gone) | source.is_in(gone)))


def shares(summary: dict[str, Any]) -> str:
    """The rows of a split's summary that share a text with a training row: `505 of 591 test rows`, or nothing."""
    parts = [
        f"{number:,} of {summary['splits'][split]['rows']:,} {split} rows"
        for split, number in sorted(summary["sharing"].items(), reverse=True)
        if split != "train"
    ]
    return ", ".join(parts)


def warning(summary: dict[str, Any]) -> str | None:
    """What must not be overlooked of a split's summary, and the keys that cure it; None where next to nothing leaks."""
    splits, leaking = summary["splits"], {name: n for name, n in summary["sharing"].items() if name != "train"}
    if not any(number > SOME * splits[name]["rows"] for name, number in leaking.items()):
        return None
    remedies = []
    if summary["groups"] == "rows" and set(leaking) - set(summary["official"]):
        remedies.append("`split.groups: connected` puts rows that share texts into one split")
    taken = f"{summary['sharing']['train']:,} of {splits['train']['rows']:,}"
    remedies.append(f"`split.drop_shared: true` takes such rows ({taken}) out of train")
    return (
        f"{shares(summary)} share a text with a training row: what is chosen and measured there may flatter. "
        f"{'; '.join(remedies)}."
    )


def _by_row(rows: pl.LazyFrame, kind: Kind) -> pl.DataFrame:
    """`id`, `split` and a hash of each text that gives a row away."""
    texts = [normalised(name).hash().alias(f"text_{place}") for place, name in enumerate(kind.IDENTIFYING)]
    return rows.select("id", pl.col("split").cast(pl.String), *texts).collect(engine="streaming")


def _shares(others: pl.DataFrame) -> pl.Expr:
    """Whether a row has a text of one of the `others`."""
    columns = [name for name in others.columns if name.startswith("text_")]
    held = pl.concat([others[name].rename("text") for name in columns]).unique().implode()
    return pl.any_horizontal(pl.col(name).is_in(held) for name in columns)
