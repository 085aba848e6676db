"""How many tokens the models of a task read, by their own tokenizers and against their limits; without loading a model.

A reader is what models of one base, learner and `max_length` have in common (`tasks.NAME.exploration.readers` of the
resolved file). `encoder` reads the texts of a row as one input, `embedder` each text by itself, behind the base's
`query_prefix`. Both counts are exact, special tokens included. Of an `llm` the system text, the user's text and the
longest answer are counted, not the few tokens that the chat template puts around the turns: the template is a program
of the transformers package, which takes longer to import than this stage to run. What the models really cut is counted
again when they predict.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune.llm.prompt import template
from retune.report.exploration import lengths
from retune.training import positions

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

    from retune.params import Params


def tokens(reader: Params, parts: dict[str, pl.DataFrame], texts: Sequence[str], bases: Path) -> dict[str, Any]:
    """Lengths in tokens by split (of a row's longest input), rows beyond the limit, and the share of unknown tokens.

    The limit, `max_length`, is what is `asked` for, or what an encoder has positions for where that is less.
    """
    tokenizer = load(bases / reader.base)
    limit, asked = reader.max_length, reader.max_length
    if reader.learner != "llm":
        limit = min(asked, positions.of(bases / reader.base) or asked)
    fixed, unknown_id = instructions(tokenizer, reader), _unknown_id(tokenizer)
    counts, over, unknown = {}, {}, {}
    for name, part in parts.items():
        inputs = encoded(tokenizer, reader, part, texts, bases / reader.base)
        longest = [max(map(len, row)) + fixed for row in inputs]
        counts[name] = pl.Series(longest, dtype=pl.Int64)
        over[name] = int((counts[name] > limit).sum())
        unknown[name] = _share([encoding for row in inputs for encoding in row], unknown_id)
    return {
        "models": list(reader.models),
        "learner": reader.learner,
        "base": reader.base,
        "max_length": limit,
        "asked": asked,
        **lengths.of(counts),
        "over": over,
        "unknown": unknown,
    }


def load(base: Path) -> Tokenizer:
    """The tokenizer of a base, which neither cuts nor pads."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encoded(
    tokenizer: Tokenizer, reader: Params, rows: pl.DataFrame, texts: Sequence[str], base: Path
) -> list[tuple[Encoding, ...]]:
    """The inputs of every row: one of `encoder` and `llm`, one for each text of `embedder`."""
    columns = [rows[column].to_list() for column in texts]
    if reader.learner == "embedder":
        source = json.loads((base / "SOURCE.json").read_text(encoding="utf-8"))
        prefix = source.get("query_prefix") or ""
        prefixes = {"document": source.get("passage_prefix", prefix)}
        columns = [[prefixes.get(name, prefix) + text for text in rows[name]] for name in texts]
        return list(zip(*map(tokenizer.encode_batch, columns), strict=True))
    if reader.learner == "llm":
        values = reader.prompt.get("values") or {}
        shown = (dict(zip(texts, row, strict=True)) for row in zip(*columns, strict=True))
        named = [template.display_values(one, values) for one in shown]
        filled = [template.user(reader.prompt.user, row) for row in named]
        return [(one,) for one in tokenizer.encode_batch(filled, add_special_tokens=False)]
    inputs = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    return [(one,) for one in tokenizer.encode_batch(inputs)]


def instructions(tokenizer: Tokenizer, reader: Params) -> int:
    """Tokens of an LLM's prompt that no row changes: the system text, the longest answer and the end of the turn."""
    if reader.learner != "llm":
        return 0
    answers = {label: str(answer) for label, answer in reader.prompt.answers.items()}
    fixed = [template.system(reader.prompt, list(answers)), *answers.values()]
    sizes = [len(one) for one in tokenizer.encode_batch(fixed, add_special_tokens=False)]
    return sizes[0] + max(sizes[1:], default=0) + 1


def _share(inputs: list[Encoding], token: int | None) -> float:
    """The share of the tokens that are this one."""
    if token is None:
        return 0.0
    return round(sum(one.ids.count(token) for one in inputs) / max(sum(map(len, inputs)), 1), 6)


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what the vocabulary has not; None for a tokenizer that falls back to bytes."""
    model = json.loads(tokenizer.to_str())["model"]
    found = model.get("unk_id")
    if found is None and model.get("unk_token"):
        found = tokenizer.token_to_id(model["unk_token"])
    return None if found is None else int(found)
