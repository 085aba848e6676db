"""Rows as each model would see them: the linear model's text, the encoder's tokens, the LLM's prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from retune import stable_hash
from retune.data import kinds
from retune.llm.prompt import template
from retune.propose import models
from retune.propose.field import short

SHOWN = 5


def rows_of(rows: pl.DataFrame, task: Mapping[str, Any], count: int = SHOWN) -> pl.DataFrame:
    """A few rows by hash of their ids, of as many different targets as there are."""
    target = kinds.of(task["kind"]).TARGET
    order = rows.with_columns(stable_hash.digests(pl.col("id")).alias("$order")).sort("$order")
    first = order.unique(subset=[target], keep="first", maintain_order=True)
    rest = order.filter(~pl.col("id").is_in(first["id"].implode()))
    return pl.concat([first, rest]).head(count).drop("$order")


def lines(
    rows: pl.DataFrame, task: Mapping[str, Any], encoder: Path | None, limit: int, prompt: Mapping[str, Any] | None
) -> list[str]:
    """Lines for each row: its target, the texts, what the encoder reads of them, and the prompt.

    `encoder`: a built base, or None; `limit`: its tokens; `prompt`: a template (retune.propose.models.shown).
    """
    kind = kinds.of(task["kind"])
    tokenizer = models.load(encoder) if encoder and (encoder / "tokenizer.json").is_file() else None
    found = []
    if prompt and (system := template.system(prompt, list(prompt["answers"]))):
        found += [f"the LLM's instructions: {short(system)}"]
    for number, row in enumerate(rows.iter_rows(named=True), 1):
        texts = [str(row[name]) for name in kind.TEXTS]
        about = f" of {row['dimension']}" if "dimension" in row else ""
        found.append(f"row {number}: {kind.TARGET}{about} {short(str(row[kind.TARGET]))}")
        written = texts if task["kind"] != "scoring" else texts[:1]
        found.append("  linear   " + short(" | ".join(written)))
        if "encoder" in kind.LEARNERS:
            found.append("  encoder  " + _read(tokenizer, texts, limit))
        if prompt:
            shown = template.display_values(dict(zip(kind.TEXTS, texts, strict=True)), prompt["values"])
            answer = prompt["answers"].get(str(row[kind.TARGET]), str(row[kind.TARGET]))
            answer = "(a relevance is scored by its log-odds)" if task["kind"] == "ranking" else answer
            found.append(f"  llm      {short(template.user(prompt['user'], shown))}  ->  {short(answer)}")
    return found


def _read(tokenizer: Any, texts: list[str], limit: int) -> str:
    """The tokens of one input as text, or the texts where no tokenizer is built."""
    if tokenizer is None:
        return short(" [SEP] ".join(texts)) + f"  (at most {limit} tokens)"
    ids = tokenizer.encode(*texts).ids
    cut = f", {limit} are read" if len(ids) > limit else ""
    return short(tokenizer.decode(ids, skip_special_tokens=False)) + f"  ({len(ids)} tokens{cut})"
