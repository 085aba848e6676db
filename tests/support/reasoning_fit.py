"""Specs and rows of LLMs that think: pairs, and companies that are scored with a reason."""

from __future__ import annotations

from typing import Any

import polars as pl

from retune.params import Params
from tests.support.llm_fit import spec_of

GENERATION = {"thinking": True, "max_new_tokens": 24, "batch_size": 5, "temperature": 0.0, "top_p": 1.0}
ALONE = Params(GENERATION | {"thinking": False})
LABELS = [str(score) for score in range(1, 11)]
LEARNT = {"training__epochs": 12, "training__learning_rate": 0.005, "lora__method": "full"}
DIMENSIONS = {"growth": "增长", "market": "市场"}


def pairs(count: int) -> pl.DataFrame:
    table = [(f"r{i}", f"{i % 7}花", "是" * 3 if i % 3 == 0 else "吗" * 3, int(i % 3 == 0)) for i in range(count)]
    frame = pl.DataFrame(table, schema=["id", "text_a", "text_b", "label"], orient="row")
    thought = pl.when(pl.col("label") == 1).then(pl.lit("借呗")).otherwise(pl.lit("花呗"))
    return frame.with_columns(reasoning=thought, group=pl.col("id"))


def companies(count: int) -> pl.DataFrame:
    """Scores 1 and 10 by the document."""
    table = [(f"r{i}", f"c{i // 2}", "好" if i // 2 % 2 else "差", list(DIMENSIONS)[i % 2]) for i in range(count)]
    frame = pl.DataFrame(table, schema=["id", "group", "document", "dimension"], orient="row")
    high = pl.col("document") == "好"
    return frame.with_columns(
        pl.col("dimension").cast(pl.Enum(list(DIMENSIONS))),
        score=pl.when(high).then(10).otherwise(1).cast(pl.Int16),
        reasoning=pl.when(high).then(pl.lit("花呗")).otherwise(pl.lit("借呗")),
        reason=pl.when(high).then(pl.lit("还款")).otherwise(pl.lit("退款")),
    )


def pair(**changes: Any) -> Params:
    """A pair model's resolved section, as by `llm_fit.spec_of`."""
    return spec_of(**{"training__thinking": True, "reasoning": True, **changes})


def scoring(**changes: Any) -> Params:
    """A scoring model's resolved section."""
    template = {
        "system": "打分",
        "user": "{dimension}：{document}",
        "answers": {label: label for label in LABELS},
        "reason": "\n因：",
        "values": {"dimension": DIMENSIONS},
    }
    fixed = {"kind": "scoring", "task": "risk", "labels": LABELS, "scores": [1, 10], "dimensions": DIMENSIONS}
    return spec_of(**{"training__thinking": True, "training__max_length": 160, "prompt": template, **fixed, **changes})
