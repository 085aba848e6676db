"""Kind `ranking` in the report: relevance by rank, estimated relevance, chains, worst queries, and a query log."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from retune.report import charts, comparison_words
from retune.report.charts import Line, Style
from retune.report.figures import Figure, points, styles
from retune.report.files import read_json, read_table
from retune.report.inputs import Model, Task
from retune.report.provenance import SplitRows
from retune.report.words import count, number

LEADING = ("ndcg@10", "mrr@10")
COMPARED = ("ndcg@10", "mrr@10", "spearman")
CONSTANT_BASELINE, OVER_BASELINE = "random order", "ndcg@10"
WINS = ("Queries first better", "Queries second better", "Same NDCG@10")
SECTIONS = [("ranks", "Ranks"), ("calibration", "Calibration")]
PAIRS = 6  # pairs of models in the query log
SHOWN = 4  # queries with the largest gains of a pair, and as many with the largest losses


def tile(split: SplitRows) -> str:
    """The test split in a few words."""
    return f"judged documents, {count(split.groups)} groups"


def split_columns(split: SplitRows) -> list[tuple[str, str]]:
    """The mean relevance, from targets rounded to one decimal."""
    mean = sum(float(target) * rows for target, rows in split.targets.items()) / max(split.rows, 1)
    return [("Mean relevance", number(mean, 2))]


def read(folder: Path) -> dict[str, Any]:
    """The counts of queries, relevance by rank and by estimate, and the worst queries of one model."""
    return {
        "queries": read_json(folder / "details/queries.json"),
        "errors": read_table(folder / "details/errors.parquet"),
        **{name: read_table(folder / f"plots/{name}.csv") for name in ("relevance_by_rank", "reliability")},
    }


def view(task: Task) -> dict[str, Any]:
    """Relevance by rank, calibration, chains, worst queries of each model, and the query log."""
    return {
        "by_rank": [by_rank(task)],
        "reliability": [reliability(task, model) for model in task.models],
        "queries": task.models[0].details["queries"],
        "errors": {model.name: worst(model.details["errors"]) for model in task.models},
        "log": [query_log(task, pair.a, pair.b) for pair in comparison_words.listed(task)[:PAIRS]],
    }


def by_rank(task: Task) -> Figure:
    """Mean relevance of the documents that each model puts at a rank."""
    style = styles(task)
    lines = [
        Line(points(m.details["relevance_by_rank"]), style[m.name], (28.0,) * len(m.details["relevance_by_rank"]))
        for m in task.models
    ]
    svg = charts.curves(lines, "Mean relevance by rank", "Rank", "Mean relevance", unit=False)
    return Figure("Mean relevance by rank", svg, "A good ranking falls from left to right.")


def reliability(task: Task, model: Model) -> Figure:
    """Estimated relevance against the judged one on the test rows."""
    table = model.details["reliability"]
    areas = tuple(12 + 260 * rows / table["rows"].sum() for rows in table["rows"].to_list())
    line = Line(points(table), Style(styles(task)[model.name].color, width=1.6), areas)
    svg = charts.curves(
        [line],
        f"Estimated relevance of {model.name}",
        "Estimated relevance",
        "Mean judged relevance",
        width=charts.SMALL,
        height=200,
        reference=[(0, 0), (1, 1)],
    )
    fitted = model.calibration
    caption = f"Relevance = {number(fitted['scale'])} × score + {number(fitted['bias'])}, within 0 and 1."
    return Figure(model.name, svg, caption)


def worst(errors: pl.DataFrame) -> list[dict[str, Any]]:
    """The worst queries of a model: query, ndcg, and its documents in the model's order."""
    return [
        {"query": query, "ndcg": part["ndcg"][0], "documents": part.to_dicts()}
        for (query, _), part in errors.group_by("query", "ndcg", maintain_order=True)
    ]


def query_log(task: Task, a: str, b: str) -> dict[str, Any]:
    """The queries on which model a gains and loses most NDCG@10 against model b, with both orders side by side."""
    gain = (pl.col(f"{a}.ndcg") - pl.col(f"{b}.ndcg")).alias("gain")
    table = task.disagreements.with_columns(gain).filter(pl.col("gain").abs() > 1e-12)
    each = table.unique("number").sort("gain", "number")["number", "gain"]
    lost, gained = each.filter(pl.col("gain") < 0), each.filter(pl.col("gain") > 0)
    chosen = [*gained.reverse().head(SHOWN)["number"], *lost.head(SHOWN)["number"]]
    return {
        "a": a,
        "b": b,
        "gained": len(gained),
        "lost": len(lost),
        "queries": [side_by_side(table.filter(pl.col("number") == query), a, b) for query in chosen],
    }


def side_by_side(rows: pl.DataFrame, a: str, b: str) -> dict[str, Any]:
    """One query: its text, both models' NDCG@10, and rank by rank the document of each with its relevance and move."""
    return {
        "query": rows["query"][0],
        "ndcg": (rows[f"{a}.ndcg"][0], rows[f"{b}.ndcg"][0]),
        "gain": rows["gain"][0],
        "ranks": list(zip_longest(_ordered(rows, a, b), _ordered(rows, b, a))),
    }


def _ordered(rows: pl.DataFrame, model: str, other: str) -> list[dict[str, Any]]:
    """Documents by a model's rank; `move` counts the ranks by which it stands higher than in the other's order."""
    table = rows.sort(f"{model}.rank").with_columns(move=pl.col(f"{other}.rank") - pl.col(f"{model}.rank"))
    return table.select("document", "relevance", "move").to_dicts()
