"""The tables of docs/data.md read what they say they read."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from retune.data.convert import convert
from retune.params import loads
from retune.pipeline.schema.catalog import Source, Table
from tests.support import ROOT
from tests.support.converting import write

BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TABLES = [found for text in BLOCK.findall((ROOT / "docs/data.md").read_text(encoding="utf-8")) if
          isinstance(found := yaml.safe_load(text), list)]  # fmt: skip


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("train", "test"):
            archive.writestr(f"data/{name}.csv", f"sentence,intent\n{name},good\n")
    return out.getvalue()


FILES: dict[str, str | bytes] = {
    "reviews.jsonl": lines(
        {"title": "T", "body": "b", "lang": "en", "rating": {"votes": 3, "stars": 4.5}},
        {"title": "", "body": "c", "lang": "en", "rating": {"votes": 9, "stars": 1}},
        {"title": "x", "body": "d", "lang": "de", "rating": {"votes": 9, "stars": 1}},
    ),
    "chat.jsonl": lines(
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "good, since ..."}]}
    ),
    "alpaca.json": json.dumps([{"instruction": "Sort", "input": "a", "output": "good"}]),
    "triplets.jsonl": lines({"query": "q", "pos": ["a"], "neg": ["b", "c"]}),
    "hits.jsonl": lines({"query": "q", "hits": {"text": ["a", "b"], "grade": [3, 0]}}),
    "names.csv": "names,topic\nred; green,good\n",
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\t7\t1\n",
    "queries.jsonl": lines({"_id": "1", "text": "who"}),
    "corpus.jsonl": lines({"_id": "7", "title": "t", "text": "me"}),
    "corpus.zip": _zip(),
}
ROWS = {
    "reviews.jsonl": [("T. b", "good"), ("c", "bad")],
    "chat.jsonl": [("hi", "good")],
    "alpaca.json": [("Sort\na", "good")],
    "triplets.jsonl": [("q", "a", 1.0), ("q", "b", 0.0), ("q", "c", 0.0)],
    "hits.jsonl": [("q", "a", 1.0), ("q", "b", 0.0)],
    "names.csv": [("red", "good"), ("green", "good")],
    "qrels/test.tsv": [("who", "t\nme", 1.0)],
    "corpus.zip": [("train", "good"), ("test", "good")],
}


def test_every_example_is_tried():
    assert {tables[0]["file"] for tables in TABLES} == ROWS.keys()


@pytest.mark.parametrize("tables", TABLES, ids=lambda tables: str(tables[0]["file"]))
def test_an_example_reads_such_a_file(tables: list[dict[str, Any]], tmp_path: Path) -> None:
    for name, content in FILES.items():
        write(tmp_path, name, content)
    columns = ["query", "document", "relevance"] if "query" in tables[0]["columns"] else ["text", "label"]
    said = [Table.model_validate(table).model_dump(by_alias=True, exclude_none=True) for table in tables]
    spec = {"kind": "ranking" if "query" in columns else "classification", "labels": ["good", "bad"], "source": "x"}
    out = tmp_path / "out"
    out.mkdir()
    whole = loads(json.dumps({**spec, "tables": said, "max_rejects": 0.0}))
    convert(whole, tmp_path / "raw", out, tmp_path / "scratch", tmp_path / "visible")
    assert pl.read_parquet(out / "rows.parquet").select(columns).rows() == ROWS[tables[0]["file"]]


def test_the_example_of_several_addresses_is_valid():
    entries = [yaml.safe_load(text) for text in BLOCK.findall((ROOT / "docs/data.md").read_text(encoding="utf-8"))]
    (many,) = [entry["many"] for entry in entries if "many" in entry]
    assert Source.model_validate(many).kind == "url"
