"""The two models of a proposal, and the length of what they read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retune.data import kinds
from retune.llm.prompt.template import PLACEHOLDER
from retune.pipeline.declarations import Project
from retune.pipeline.schema.params import Prompt
from retune.propose.draft import Draft
from retune.propose.field import number

LONGEST = 512
"""Tokens that BERT-like encoders have positions for."""

ENOUGH = 0.95
"""Share of the rows that shall be read whole, where the encoder can."""

LENGTHS = (128, 192, 256, 384, 512)


@dataclass(frozen=True)
class Lengths:
    """Tokens of the rows as the encoder reads them: quantiles, the limit, the share beyond it; counted or estimated."""

    median: int
    most: int  # of 95 % of the rows
    longest: int
    limit: int
    cut: float
    exact: bool


def add(draft: Draft, declared: Project, rows: pl.DataFrame, root: Path) -> Lengths:
    """Put a linear model and an encoder beside the task; what its rows measure for the encoder."""
    kind = kinds.of(draft.task["kind"])
    linear, encoder = role(declared, "linear"), role(declared, "encoder")
    if linear:
        draft.models[f"{draft.name}_linear"] = {"task": draft.name, "learner": "linear", "base": linear}
    limit = int(declared.defaults["training"].model_dump()["max_length"])
    counts, exact = tokens(rows, kind.TEXTS, root / "models/bases" / (encoder or ""))
    most = int(counts.quantile(ENOUGH, "higher") or 0)
    own: dict[str, Any] = {}
    if most > limit:
        limit = next((length for length in LENGTHS if most <= length), LONGEST)
        own = {"training": {"max_length": limit}}
    if encoder and "encoder" in kind.LEARNERS:
        draft.models[f"{draft.name}_encoder"] = {"task": draft.name, "learner": "encoder", "base": encoder, **own}
    cut = number((counts > limit).mean())
    return Lengths(int(number(counts.median())), most, int(number(counts.max())), limit, cut, exact)


def role(declared: Project, learner: str) -> str | None:
    """A role under `bases` for a learner: the one that its models have here, else one of a fitting name or kind."""
    used = [
        model.base for model in declared.models.values() if model.learner == learner and model.base in declared.bases
    ]
    if used:
        return used[0]
    if learner == "linear":
        empty = (name for name, entry in declared.bases.items()
                 if entry in declared.checkpoints and declared.checkpoints[entry].kind == "none")  # fmt: skip
        return next(empty, None)
    embedders = [model.base for model in declared.models.values() if model.learner == "embedder"]
    return next((name for name in (learner, *embedders) if name in declared.bases), None)


def tokens(rows: pl.DataFrame, texts: tuple[str, ...], base: Path) -> tuple[pl.Series, bool]:
    """Tokens of each row's texts together, special ones included; counted where the base is built, else estimated."""
    if (base / "tokenizer.json").is_file():
        tokenizer = load(base)
        columns = [rows[name].cast(pl.String).to_list() for name in texts]
        inputs = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        return pl.Series([len(one) for one in tokenizer.encode_batch(inputs)], dtype=pl.Int64), True
    total = pl.lit(2 + 2 * (len(texts) - 1), pl.Float64)
    for name in texts:
        text = pl.col(name).cast(pl.String)
        east = text.str.count_matches(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
        total = total + east * 0.7 + (text.str.len_chars() - east) / 4
    return rows.select(total.ceil().cast(pl.Int64).alias("tokens")).to_series(), False


def load(base: Path) -> Any:
    """The tokenizer of a built base, which neither cuts nor pads."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def prompt_for(declared: Project, task: Mapping[str, Any], named: str | None) -> str | None:
    """The prompt of a task: the one that is named, else the shortest that shows its texts and answers its labels."""
    if named:
        return named
    found = [name for name, prompt in declared.prompts.items() if _fits(prompt, task)]
    sizes = {name: len(declared.prompts[name].user) + len(declared.prompts[name].system or "") for name in found}
    return min(found, key=lambda name: (sizes[name], name), default=None)


def _fits(prompt: Prompt, task: Mapping[str, Any]) -> bool:
    kind = kinds.of(task["kind"])
    texts = set(PLACEHOLDER.findall(prompt.user))
    own = list(getattr(kind, "LABELS", ()))
    labels = task.get("labels") or own
    if texts != set(kind.TEXTS) or prompt.dimensions:
        return False
    if prompt.answers is None:
        return not own
    return not labels or sorted(prompt.answers) == sorted(labels)


def shown(declared: Project, task: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A prompt as the LLM of this task would read it: its template with answers and the texts of dimensions."""
    template: dict[str, Any] = json.loads(declared.prompts[name].model_dump_json())
    labels = task.get("labels") or list(getattr(kinds.of(task["kind"]), "LABELS", ()))
    template["answers"] = template["answers"] or {label: label for label in labels}
    template["values"] = {"dimension": {**task.get("dimensions", {}), **(template["dimensions"] or {})}}
    return template
