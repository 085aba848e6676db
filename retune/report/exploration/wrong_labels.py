"""Training rows whose label is probably wrong, as the exploration shows them, and how many there may be, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from retune.report.words import and_, count, share

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params

SHOWN = 50
ENOUGH = 0.9
"""Share of the labels with which models agree that tell how many are wrong: weaker ones count what they can't tell."""


def shown(train: pl.LazyFrame, table: pl.DataFrame, summary: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """`summary` with the first `rows` of `table` (retune.doubts.doubtful_rows): texts, label, likeliest, probabilities.

    `train` has the texts.
    """
    first = table.head(SHOWN)
    texts = train.filter((pl.col("origin") == "original") & pl.col("id").is_in(first["id"].implode()))
    rows = first.join(texts.select("id", pl.col(kind.TEXTS).cast(pl.String)).collect(), on="id", maintain_order="left")
    return {
        **summary,
        "shown": [
            {
                "texts": [row[column] for column in kind.TEXTS],
                "label": row["label"],
                "likeliest": row["likeliest"],
                "by": {name: round(row[f"by_{name}"], 4) for name in summary["models"]},
            }
            for row in rows.to_dicts()
        ],
    }


def fact(doubts: dict[str, Any] | None, spec: Params) -> str:
    """How many training rows may have a wrong label, with what that number is worth; or why there is none."""
    if doubts is None:
        if "labels" not in spec or spec.kind == "scoring":
            return f"Wrong labels are not looked for: a {spec.kind} has no labels."
        if not spec.get("doubts"):
            return "Wrong labels are not looked for (exploration.doubts is 0)."
        return "Wrong labels can't be looked for: that needs training rows of two labels in two groups."
    judged, agree = count(doubts["judged"]), share(doubts["agreement"], 1)
    said = (
        f"Labels that may be wrong: {judged} of {count(doubts['rows'])} training rows were judged by "
        f"{and_(list(doubts['models']))} without their groups; these agree with {agree} of the labels. "
    )
    if doubts["agreement"] < ENOUGH:
        return said + "That is too little to say how many are wrong; the order, the most doubtful first, is of use."
    return (
        f"{said}Confident learning expects {count(doubts['expected'])} wrong ones "
        f"({share(doubts['expected'], doubts['judged'])}); what the models can't tell is counted, too."
    )
