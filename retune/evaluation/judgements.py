"""The grades that a judge gives to generated and gold reasons, with intervals (asked by `retune.evaluation.judge`).

They are made in the stage `evaluate`. In `predict`, naming a judge would run the model again; a stage of its own would
stand in the pipeline once for each model, and most give no reasons. `evaluate` runs again for another threshold or
number of resamples as well, but sends nothing then: an answer is cached under its whole request
(retune.sources.chat_api), of which no threshold is a part. What the judge said is an output of the stage.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from retune.data import kinds
from retune.evaluation import judge
from retune.evaluation.comparison import paired
from retune.evaluation.groups import codes
from retune.evaluation.judge import Case
from retune.evaluation.measure import Measure
from retune.evaluation.predictions import limited
from retune.evaluation.rationale import MEASURES
from retune.evaluation.weighted import Floats, Integers, ratio, total
from retune.sources.chat_api import Reply

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

SAME = "两段文本在这项任务的意义上是否一致？"
"""The question of kind `pair`; of kind `scoring` it is the dimension."""
TOKENS = ("prompt_tokens", "completion_tokens")
SHOWN = 200
"""Characters of an unparsed answer that the report shows."""


class Grades(NamedTuple):
    """The grades of n reasons."""

    values: Floats  # [n, measures]

    def take(self, order: Integers) -> Grades:
        """Put the rows in another order, or take some of them."""
        return Grades(self.values[order])

    def beside(self, other: Grades) -> Grades:
        """These grades, then those of other reasons of the same rows."""
        return Grades(np.concatenate([self.values, other.values]))


def order(given: Grades) -> Integers:
    """As they stand: nothing is sorted."""
    return np.arange(len(given.values))


def measure(given: Grades, weights: Floats) -> dict[str, Floats]:
    """The mean grade of each measure, [...], of row weights [..., n]."""
    rows = weights.sum(-1)
    return {name: ratio(total(weights, given.values[:, i]), rows) for i, name in enumerate(MEASURES)}


MEASURE = Measure(MEASURES, measure, order)


def write(
    details: Path, joined: pl.DataFrame, spec: Params, texts: Sequence[str], written: dict[str, list[str]]
) -> None:
    """Ask the judge, and write judge.json (see `summary`) and judge.jsonl, reason by reason.

    `texts` are the columns of the document, `written` the reasons of the joined rows: `generated`, then `gold`.
    """
    sides = list(written) if spec.judge.gold else ["generated"]
    whole = joined.with_columns(pl.Series(side, written[side], dtype=pl.String) for side in sides)
    rows = limited(whole, spec.judge.rows, kinds.of(spec.kind))
    asked = cases(rows, spec, texts, sides)
    replies = judge.ask(spec.judge, [Case(*row) for row in asked.select(Case._fields).iter_rows()])
    given = graded(asked, replies)
    given.drop("group").write_ndjson(details / "judge.jsonl")
    found = summary(given, sides, len(rows), spec)
    (details / "judge.json").write_text(
        json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )
    unparsed = sum(found[side]["unparsed"] for side in sides)
    log.info(f"{spec.judge.model} was asked for {len(given):,} reasons; cost {found['cost']:.4f}")
    if unparsed:
        log.warning("%d of %d answers of the judge are not four grades; they count for nothing", unparsed, len(given))


def cases(rows: pl.DataFrame, spec: Params, texts: Sequence[str], sides: Sequence[str]) -> pl.DataFrame:
    """A row for each reason that is no empty text: id, group, document, question, reasons (one of `sides`), reason."""
    document, question = pl.col(texts[0]), pl.lit(SAME)
    if len(texts) > 1:
        document = pl.concat_str(
            [pl.format(f"文本{i}：{{}}", name) for i, name in enumerate(texts, 1)], separator="\n\n"
        )
    if spec.kind == "scoring":
        shown = {name: f"从“{title}”这一维度看，应打几分？" for name, title in spec.dimensions.items()}
        question = pl.col("dimension").cast(pl.String).replace_strict(shown)
    index = ["id", "group", "document", "question"]
    table = rows.select("id", "group", *sides, document=document, question=question)
    table = table.unpivot(on=sides, index=index, variable_name="reasons", value_name="reason")
    return table.filter(pl.col("reason").str.strip_chars() != "")


def graded(asked: pl.DataFrame, replies: Sequence[Reply]) -> pl.DataFrame:
    """Columns id, group, reasons, the grades (null where the answer is unparsed), raw (what it was), and the tokens."""
    grades = [judge.read(reply.text) or dict.fromkeys(MEASURES) for reply in replies]
    columns = [pl.Series(name, [one[name] for one in grades], dtype=pl.Int64) for name in MEASURES]
    raw = [f"refused: {reply.refused}" if reply.refused else reply.text for reply in replies]
    columns.append(pl.Series("raw", raw, dtype=pl.String))
    for name in TOKENS:
        columns.append(pl.Series(name, [getattr(reply, name) for reply in replies], dtype=pl.Int64))
    return asked.select("id", "group", "reasons").with_columns(columns)


def summary(given: pl.DataFrame, sides: Sequence[str], rows: int, spec: Params) -> dict[str, Any]:
    """What `rows` rows with these grades (see `graded`) say.

    `model`, `rows`, the tokens and the `cost` of all answers, cached ones as well, `example` (an unparsed answer); for
    each side how many reasons are `judged`, `unparsed` and `empty` (not sent), and the `metrics` of the judged ones;
    and, of the `both` rows whose generated and gold reasons are judged, `difference` (generated minus gold; its p is
    not corrected). Metrics and difference are left out where there is nothing to measure.
    """
    parsed = pl.col(MEASURES[0]).is_not_null()
    read, said = (int(given[name].sum()) for name in TOKENS)
    cost = (read * spec.judge.price_input + said * spec.judge.price_output) / 1e6
    found: dict[str, Any] = {
        "model": spec.judge.model,
        "rows": rows,
        TOKENS[0]: read,
        TOKENS[1]: said,
        "cost": cost,
    }
    lost = given.filter(~parsed)["raw"].fill_null("")
    found["example"] = lost[0][:SHOWN] if len(lost) else None
    tables = {side: given.filter(parsed, reasons=side).sort("id") for side in sides}
    for side, judged in tables.items():
        sent = len(given.filter(reasons=side))
        found[side] = {"judged": len(judged), "unparsed": sent - len(judged), "empty": rows - sent}
        if len(judged):
            found[side]["metrics"] = _measured({side: judged}, spec)[side]
    if len(sides) == 2:
        first, second = tables.values()
        both = {sides[0]: first.join(second, on="id", how="semi"), sides[1]: second.join(first, on="id", how="semi")}
        found["both"] = len(both[sides[0]])
        if found["both"]:
            found["difference"] = _measured(both, spec)["difference"]
    return found


def _measured(tables: dict[str, pl.DataFrame], spec: Params) -> dict[str, Any]:
    """The metrics of each table with intervals; of two with the same rows also their difference."""
    groups = codes(next(iter(tables.values()))["group"])
    values = {side: Grades(table.select(MEASURES).to_numpy().astype(np.float64)) for side, table in tables.items()}
    return paired(MEASURE, values, groups, spec)
