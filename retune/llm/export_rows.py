"""The rows of a task as files that other programs train on: ShareGPT messages, Alpaca, or the table as JSON lines.

Prompt and target are the texts that Retune's own LLM learner trains on (retune.llm.prompt.template,
retune.llm.prompt.targets), so a model trained elsewhere reads and writes the same. Rows are not cut to a length. Beside
ShareGPT and Alpaca files stands LLaMA-Factory's `dataset_info.json`, which names each file as a data set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from retune.data import kinds, labels
from retune.data.split import SPLITS
from retune.errors import RetuneError
from retune.llm.prompt import targets, template
from retune.params import Params

if TYPE_CHECKING:
    from retune.data.kinds.protocol import KindWithLabels

INFO = "dataset_info.json"
FORMATS = ("sharegpt", "alpaca", "jsonl")
LAYOUTS: dict[str, dict[str, Any]] = {
    "sharegpt": {
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    },
    "alpaca": {
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
    },
}
"""How LLaMA-Factory is told to read a file, but for its name."""

Record = dict[str, Any]


def export(
    name: str, spec: Params, rows: Path, form: str, out: Path, splits: Sequence[str], thinking: bool | None = None
) -> dict[str, int]:
    """Write one file for each split of task `name` into the folder `out`; file name -> number of rows.

    `spec` is the task's resolved section, `rows` the folder of its split tables, `form` one of `FORMATS`. With
    `thinking` the reasoning stands between <think> tags before the answer; None: where rows have any. Either all files
    are written or none; other files of `out`, and other entries of its `dataset_info.json`, stay. Raises `RetuneError`
    for an unknown format or split, for a split that is not built, and for a task without a prompt.
    """
    _check(name, spec, rows, form, splits)
    tables = {split: pl.scan_parquet(rows / f"{split}.parquet", glob=False) for split in splits}
    if thinking is None:
        thinking = any(_has_reasoning(table) for table in tables.values())
    suffix = "jsonl" if form == "jsonl" else "json"
    files = {split: f"{name}_{split}.{suffix}" for split in splits}
    infos = {
        f"{name}_{split}": {"file_name": file, **LAYOUTS[form]} for split, file in files.items() if suffix == "json"
    }
    existing = _existing_info(out / INFO) if infos else {}
    out.mkdir(parents=True, exist_ok=True)
    parts = {file: out / f".{file}.part" for file in (*files.values(), *([INFO] if infos else []))}
    counts = {}
    try:
        for split, file in files.items():
            counts[file] = _write(parts[file], tables[split], record_of(spec, form, thinking), suffix)
        if infos:
            text = json.dumps({**existing, **infos}, ensure_ascii=False, indent=2)
            parts[INFO].write_text(text + "\n", encoding="utf-8")
        for file, part in parts.items():
            os.replace(part, out / file)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return counts


def record_of(spec: Params, form: str, thinking: bool) -> Callable[[Record], Record]:
    """What a row of the table becomes in a file of this format."""
    if form == "jsonl":
        return lambda row: row
    prompt, kind = spec.prompt, kinds.of(spec.kind)
    system, values = (
        template.system(prompt, spec.get("labels") or cast("KindWithLabels", kind).LABELS),
        prompt.get("values") or {},
    )

    def record(row: Record) -> Record:
        user = template.user(
            prompt.user, template.display_values({column: row[column] for column in kind.TEXTS}, values)
        )
        if spec.kind == "ranking":  # the LLM reranker is asked whether the document answers the query
            row = {**row, "label": int(row["relevance"] >= labels.RELEVANT)}
        answer = targets.target_text(row, prompt, thinking)
        if form == "alpaca":
            return {"instruction": user, "input": "", "output": answer, "system": system}
        turns = [("system", system)] if system else []
        turns += [("user", user), ("assistant", answer)]
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    return record


def _check(name: str, spec: Params, rows: Path, form: str, splits: Sequence[str]) -> None:
    if form not in FORMATS:
        raise RetuneError(f"--format {form}: take {', '.join(FORMATS)}")
    if form != "jsonl" and "prompt" not in spec:
        raise RetuneError(
            f"tasks.{name} has no `prompt`, so there is nothing to ask an LLM; give it one, or take --format jsonl"
        )
    for split in splits:
        if split not in SPLITS:
            raise RetuneError(f"--split {split}: take {', '.join(SPLITS)}")
        if not (rows / f"{split}.parquet").is_file():
            raise RetuneError(f"{rows / split}.parquet is missing: run `dvc repro split@{name}` first")


def _has_reasoning(table: pl.LazyFrame) -> bool:
    """Whether any row comes with reasoning."""
    if "reasoning" not in table.collect_schema():
        return False
    return bool(table.select(pl.col("reasoning").is_not_null().any()).collect(engine="streaming").item())


def _existing_info(path: Path) -> dict[str, Any]:
    """The entries of a dataset_info.json that is there already."""
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RetuneError(f"{path}:{error.lineno} is not JSON ({error.msg}); mend it or export elsewhere") from None
    if not isinstance(entries, dict):
        raise RetuneError(f"{path} is no JSON object; mend it or export elsewhere")
    return entries


def _write(path: Path, table: pl.LazyFrame, record: Callable[[Record], Record], suffix: str) -> int:
    """Write the table as a JSON array or JSON lines, batch by batch; the number of rows."""
    count = 0
    array = suffix == "json"
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[" if array else "")
        for row in _rows(table):
            text = json.dumps(record(row), ensure_ascii=False)
            stream.write(f"{',' if count else ''}\n{text}" if array else f"{text}\n")
            count += 1
        stream.write("\n]\n" if array else "")
    return count


def _rows(table: pl.LazyFrame) -> Iterator[Record]:
    for batch in table.collect_batches(maintain_order=True, engine="streaming"):
        yield from batch.iter_rows(named=True)
