"""The quality of generated reasons beside that of the gold ones, by the rules of `retune.evaluation.rationale`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from retune.evaluation import rationale
from retune.evaluation.comparison import paired
from retune.evaluation.groups import codes
from retune.evaluation.measure import Measure
from retune.evaluation.weighted import Floats, Integers, ratio, total

if TYPE_CHECKING:
    from retune.params import Params


class RationaleAnswers(NamedTuple):
    """The measures of n texts."""

    figures: Floats  # [n], figures of the text
    unsupported: Floats  # [n], those that are not in the document
    values: Floats  # [n, measures]; NaN where a measure has no meaning

    def take(self, order: Integers) -> RationaleAnswers:
        """Put the rows in another order, or take some of them."""
        return RationaleAnswers(self.figures[order], self.unsupported[order], self.values[order])

    def beside(self, other: RationaleAnswers) -> RationaleAnswers:
        """These measures, then those of other texts of the same rows."""
        return RationaleAnswers(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


def order(given: RationaleAnswers) -> Integers:
    """As they stand: nothing is sorted."""
    return np.arange(len(given.figures))


def measure(given: RationaleAnswers, weights: Floats) -> dict[str, Floats]:
    """The means of the measures, and the share of all figures that stand in no document; each [...]."""
    rows = weights.sum(-1)
    found = {name: ratio(total(weights, given.values[:, i]), rows) for i, name in enumerate(rationale.MEASURES)}
    return found | {"unsupported": ratio(total(weights, given.unsupported), total(weights, given.figures))}


MEASURE = Measure((*rationale.MEASURES, "unsupported"), measure, order)


def write(details: Path, joined: pl.DataFrame, spec: Params, texts: Sequence[str]) -> None:
    """Write rationale.json and rationale.jsonl (row by row), where the model gave reasons; `texts` are the document.

    rationale.json has `rows`, `gold_rows`, `terms` (how many are known), `generated`, `gold` and `difference`
    (generated minus gold, on the rows that have gold reasons; its p is not corrected).
    """
    if not {"predicted_reasoning", "predicted_reason"} & set(joined.columns):
        return
    terms = rationale.built_in() if spec.get("terms") is None else list(spec.terms)
    documents = joined.select(pl.concat_str(texts, separator="\n")).to_series().to_list()
    kept = pl.Series([bool(text.strip()) for text in written(joined, "")])
    rows = {
        name: [
            rationale.measure(text, document, terms)
            for text, document in zip(written(joined, of), documents, strict=True)
        ]
        for name, of in (("generated", "predicted_"), ("gold", ""))
    }
    groups = joined["group"]
    generated, gold = (_answers(rows[name]) for name in ("generated", "gold"))
    both = np.flatnonzero(kept.to_numpy())
    result: dict[str, Any] = {"rows": len(joined), "gold_rows": len(both), "terms": len(terms)}
    result |= _compared({"generated": generated}, groups, spec)
    if len(both):
        pair = {"generated": generated.take(both), "gold": gold.take(both)}
        found = _compared(pair, groups.gather(both), spec)
        result |= {"gold": found["gold"], "difference": found["difference"]}
    (details / "rationale.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    table = joined.select("id")
    for name, of in rows.items():
        columns = [
            pl.Series(f"{name}_{field}", [getattr(one, field) for one in of]) for field in rationale.Rationale._fields
        ]
        table = table.with_columns(columns)
    own = [pl.when(kept).then(pl.col(name)).alias(name) for name in table.columns if name.startswith("gold_")]
    table.with_columns(own).write_ndjson(details / "rationale.jsonl")
    if spec.get("judge"):
        from retune.evaluation import judgements  # the client of an endpoint takes a second to load

        judgements.write(
            details, joined, spec, texts, {"generated": written(joined, "predicted_"), "gold": written(joined, "")}
        )


def written(joined: pl.DataFrame, of: str) -> list[str]:
    """Reasoning and reason of each row as one text; `of` is `predicted_`, or empty for the gold ones."""
    parts = [f"{of}{name}" for name in ("reasoning", "reason") if f"{of}{name}" in joined.columns]
    if not parts:
        return [""] * len(joined)
    return joined.select(pl.concat_str(parts, separator="\n", ignore_nulls=True)).to_series().fill_null("").to_list()


def _answers(rows: list[rationale.Rationale]) -> RationaleAnswers:
    values = [[np.nan if (v := getattr(row, name)) is None else v for name in rationale.MEASURES] for row in rows]
    counts = np.array([(row.figures, row.unsupported) for row in rows], dtype=np.float64)
    return RationaleAnswers(counts[:, 0], counts[:, 1], np.array(values, dtype=np.float64))


def _compared(texts: dict[str, RationaleAnswers], groups: pl.Series, spec: Params) -> dict[str, Any]:
    """The metrics of each with intervals; of two also the paired difference, the first minus the second."""
    found = paired(MEASURE, texts, codes(groups), spec)
    for name, given in texts.items():
        found[name] = {"metrics": found[name], "figures": float(given.figures.mean())}
    return found
