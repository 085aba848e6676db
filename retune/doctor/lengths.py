"""The largest forward pass of a training: from its rows where they are here, else from its limits."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retune.doctor.memory import Pass

LOOKED_AT = 300
"""Training rows that are looked at."""

EAST = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def of(spec: dict[str, Any], task: dict[str, Any], rows: Path, base: Path) -> Pass:
    """The largest pass of a model: `rows` is the training split of its task, `base` the folder of its base.

    Of an LLM the instructions are read once, and each row's own tokens beside them; encoders pad each text to the
    longest of the batch.
    """
    training = spec["training"]
    batch = int(training.get("batch_size") or 32)
    most = int(training.get("packed_tokens") or 4096)
    limit = int(training["max_length"])
    causal = spec["learner"] == "llm"
    texts = 2 if spec["learner"] == "embedder" else 1
    if not rows.is_file():
        return Pass(min(most, batch * texts * limit), limit, batch * (limit // 4 if _writes(spec) else 8), True)
    count = _counter(base)
    columns, written = _columns(spec, rows)
    if causal:
        prompt = spec.get("prompt") or {}
        fixed = count(str(prompt.get("system") or "") + str(prompt.get("user") or "")) + 10
        if "{labels}" in str(prompt.get("system")):
            fixed += sum(count(f"{answer} {label}") for label, answer in (prompt.get("answers") or {}).items())
        own = [sum(count(text) for text in row) + sum(count(text) for text in more) + 8
               for row, more in zip(columns, written, strict=True)]  # fmt: skip
        targets = [sum(count(text) for text in more) + 4 for more in written]
        mean, aimed = sum(own) / max(len(own), 1), sum(targets) / max(len(targets), 1)
        shared = _shared(columns, rows, count) if training.get("keep_together") else 0.0
        tokens = min(most, round(fixed + batch * (mean - shared)))
        return Pass(tokens, min(limit, fixed + max(own, default=0)), round(batch * aimed), False)
    lengths = sorted(max(count(text) for text in row) + 4 if texts == 2 else sum(count(text) + 2 for text in row)
                     for row in columns)  # fmt: skip
    longest = min(limit, lengths[min(len(lengths) - 1, int(0.98 * len(lengths)))]) if lengths else limit
    return Pass(min(most, batch * texts * longest), longest, 0, False)


def _shared(columns: list[list[str]], rows: Path, count: Callable[[str], int]) -> float:
    """Tokens of a row that another row of its batch has computed, where rows of one first text stand together."""
    import polars as pl

    known = pl.read_parquet_schema(rows)
    first = next(name for name in ("text_a", "text", "query", "document") if name in known)
    texts = pl.scan_parquet(rows).select(first).collect().to_series()
    mean = sum(count(row[0]) for row in columns) / max(len(columns), 1)
    return mean * (1 - texts.n_unique() / max(len(texts), 1))


def _writes(spec: dict[str, Any]) -> bool:
    return bool(spec["training"].get("thinking")) or spec.get("kind") == "scoring"


def _columns(spec: dict[str, Any], rows: Path) -> tuple[list[list[str]], list[list[str]]]:
    """The texts of some training rows, and what an LLM shall write beside the answer."""
    import polars as pl

    names = {
        "pair": ["text_a", "text_b"],
        "classification": ["text"],
        "ranking": ["query", "document"],
        "scoring": ["document", "dimension"],
    }[spec["kind"]]
    frame = pl.scan_parquet(rows).head(LOOKED_AT).collect()
    said = ["reasoning"] if spec["training"].get("thinking") else []
    said += ["reason"] if spec["kind"] == "scoring" else []
    said = [name for name in said if name in frame.columns]
    texts = [[str(text) for text in row] for row in frame.select(names).iter_rows()]
    written = [[str(text or "") for text in row] for row in frame.select(said).iter_rows()] if said else []
    return texts, written or [[] for _ in texts]


@functools.cache
def _counter(base: Path) -> Callable[[str], int]:
    """Counts the tokens of a text by the base's tokenizer, or by its signs where there is none."""
    if (base / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids) if text else 0

    def estimated(text: str) -> int:
        east = len(EAST.findall(text))
        return round(0.7 * east + (len(text) - east) / 4)

    return estimated
