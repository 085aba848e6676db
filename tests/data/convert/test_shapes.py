"""Shapes of public data sets: conversations, lists of texts, several joined files, archives."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from retune.data.convert import compressed
from retune.errors import RetuneError
from retune.pipeline.schema.catalog import Join, Table
from tests.support.converting import PAIR, run, write

PAIRS = "a,b,y\nx,y,1\nz,w,0\n"


def lines(*records: object) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def zipped(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


SECOND = [{"type": "text", "text": "sec"}, {"type": "image"}, {"type": "text", "text": "ond"}]
MESSAGES = [
    {"role": "system", "content": "sort"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "0"},
    {"role": "user", "content": SECOND},
    {"role": "assistant", "content": "1"},
]
SHAREGPT = [
    {"from": "system", "value": "sort"},
    {"from": "human", "value": "second"},
    {"from": "gpt", "value": "1"},
]


@pytest.mark.parametrize(("field", "turns", "user"), [("messages", MESSAGES, "user"), ("talk", SHAREGPT, "human")])
def test_a_turn_is_taken_by_its_role_or_as_the_last_one(field, turns, user, tmp_path):
    write(tmp_path, "r.jsonl", lines({field: turns}, {field: turns[:1]}, {field: "no"}, {"x": 1}))
    columns = {
        "text_a": {"from": field, "turn": "system"},
        "text_b": {"from": field, "turn": user},
        "label": {"from": field, "turn": "last"},
    }
    found = run(tmp_path, {"file": "r.jsonl", "columns": columns}, max_rejects=0.9)
    assert found.triples() == [("sort", "second", 1)]
    assert [reject["reason"] for reject in found.rejects] == [
        f'`text_b` has no turn of `{user}` in a list of turns; `label` is no whole number: "sort"',
        f"`text_a` has no turn of `system` in a list of turns; `text_b` has no turn of `{user}` in a list of turns; "
        "`label` has no last turn in a list of turns",
        "; ".join(f"`{name}` is missing (field `{field}`)" for name in columns),
    ]


def test_an_alpaca_file_has_its_input_behind_the_instruction(tmp_path):
    rows = [
        {"instruction": "Same?", "input": "x y", "output": "1"},
        {"instruction": "Same", "input": "", "output": "0"},
    ]
    write(tmp_path, "r.json", json.dumps(rows))
    columns = {"text_a": {"from": ["instruction", "input"], "join": "\n"}, "text_b": {"value": "-"}, "label": "output"}
    assert run(tmp_path, {"file": "r.json", "columns": columns}).triples() == [("Same?\nx y", "-", 1), ("Same", "-", 0)]


LISTS = {"text_a": "query", "text_b": "value", "label": "key"}


def test_lists_of_positives_and_negatives_become_a_row_each(tmp_path):
    rows = [
        {"query": "q", "pos": ["a", "b"], "neg": ["c"]},
        {"query": "r", "pos": "d", "neg": []},
        {"query": "s", "pos": []},
    ]
    write(tmp_path, "r.jsonl", lines(*rows))
    table = {"file": "r.jsonl", "explode": {"field": {"pos": 1, "neg": 0}}, "columns": LISTS}
    found = run(tmp_path, table, max_rejects=0.5)
    assert found.triples() == [("q", "a", 1), ("q", "b", 1), ("q", "c", 0), ("r", "d", 1)]
    assert [(reject["line"], reject["reason"]) for reject in found.rejects] == [(3, "`pos`, `neg` are empty")]
    frame = pl.DataFrame({"query": ["q"], "pos": [["a"]], "neg": [["c", "d"]], "n": [b"x"]})
    frame.write_parquet(write(tmp_path, "r.parquet", ""))
    assert run(tmp_path, {**table, "file": "r.parquet"}).triples() == [("q", "a", 1), ("q", "c", 0), ("q", "d", 0)]


def test_parallel_lists_are_walked_side_by_side(tmp_path):
    rows = [
        {"q": "q", "hits": {"text": ["a", "b"]}, "label": [1, 0]},
        {"q": "r", "hits": {"text": ["a"]}, "label": [1, 0]},
    ]
    write(tmp_path, "r.jsonl", lines(*rows))
    columns = {"text_a": "q", "text_b": "value.text", "label": "value.label", "reasoning": "key"}
    table = {"file": "r.jsonl", "explode": {"field": ["hits.text", "label"]}, "columns": columns}
    found = run(tmp_path, table, max_rejects=0.5)
    assert found.triples() == [("q", "a", 1), ("q", "b", 0)]
    assert found.rejects[0]["reason"] == (
        "lists side by side need as many entries, but there are 1 in `hits.text` and 2 in `label`"
    )
    with pytest.raises(ValidationError, match="two of the parallel lists are called `text`"):
        Table.model_validate({**table, "explode": {"field": ["a.text", "b.text"]}})


def test_a_text_with_separators_is_a_list(tmp_path):
    write(tmp_path, "r.csv", "q,hits,y\nx,a; b ;,1\nz,,0\n")
    columns = {"text_a": "q", "text_b": "value", "label": "y"}
    table = {"file": "r.csv", "explode": {"field": "hits", "separator": ";"}, "columns": columns}
    found = run(tmp_path, table, max_rejects=0.5)
    assert found.triples() == [("x", "a", 1), ("x", "b", 1)]
    assert found.rejects[0]["reason"] == "`hits` is empty"


BEIR = {
    "file": "qrels/test.tsv",
    "join": [
        {"file": "queries.jsonl", "by": "query-id", "key": "_id", "name": "query"},
        {"file": "corpus.jsonl", "by": "corpus-id", "key": "_id", "name": "document"},
    ],
    "where": "$document.lang IS NULL",
    "columns": {
        "text_a": "$query.text",
        "text_b": {"from": ["$document.title", "$document.text"], "join": ". "},
        "label": "score",
    },
}
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td3\t1\nq3\td1\t1\nq2\td9\t1\n"


def test_judgements_are_joined_with_queries_and_documents_by_differently_named_keys(tmp_path):
    documents = [
        {"_id": "d1", "title": "T", "text": "one"},
        {"_id": "d2", "title": "", "text": "two"},
        {"_id": "d3", "title": "x", "text": "drei", "lang": "de"},
    ]
    write(tmp_path, "queries.jsonl", lines({"_id": "q1", "text": "who"}, {"_id": "q2", "text": "what"}))
    write(tmp_path, "corpus.jsonl", lines(*documents))
    write(tmp_path, "qrels/test.tsv", QRELS)
    found = run(tmp_path, BEIR, max_rejects=0.5)
    assert found.triples() == [("who", "T. one", 1), ("who", "two", 0)]
    assert [(reject["line"], reject["reason"]) for reject in found.rejects] == [
        (5, "queries.jsonl has no record with a `_id` like its `query-id`"),
        (6, "corpus.jsonl has no record with a `_id` like its `corpus-id`"),
    ]
    assert found.summary["left_out"] == 1
    for name, said in (
        ("$quer.text", r"names `\$quer.text`, but the table joins `\$query.NAME`, `\$document.NAME`"),
        ("$query.texts", r"has the field `\$query.texts`; did you mean `\$query.text`"),
    ):
        with pytest.raises(RetuneError, match=said):
            run(tmp_path, {**BEIR, "columns": {**BEIR["columns"], "text_a": name}})


def test_joins_have_names_of_their_own():
    join = {"file": "x.csv", "by": "id"}
    Table.model_validate({"file": "a.csv", "join": [join, {**join, "name": "other"}], "columns": PAIR})
    with pytest.raises(ValidationError, match="two joins are called `join`"):
        Table.model_validate({"file": "a.csv", "join": [join, join], "columns": PAIR})
    with pytest.raises(ValidationError, match="can't be the name of a join"):
        Join.model_validate({**join, "name": "file"})
    with pytest.raises(ValidationError, match="`key` needs `by`"):
        Join.model_validate({"file": "x.csv", "key": "id"})


def test_a_file_in_a_zip_archive_is_read(tmp_path):
    write(tmp_path, "one.zip", zipped({"data/pairs.csv": PAIRS, "__MACOSX/._pairs.csv": "x"}))
    assert run(tmp_path, {"file": "one.zip"}).triples() == [("x", "y", 1), ("z", "w", 0)]
    packed = gzip.compress(lines({"a": "p", "b": "q", "y": 1}).encode())
    write(tmp_path, "two.zip", zipped({"a/train.csv": PAIRS, "b/train.jsonl.gz": packed}))
    assert run(tmp_path, {"file": "two.zip", "member": "b/train.jsonl.gz"}).triples() == [("p", "q", 1)]
    with pytest.raises(RetuneError, match=r"two.zip holds 2 files \(a/train.csv, b/train.jsonl.gz\): name one as"):
        run(tmp_path, {"file": "two.zip"})
    with pytest.raises(RetuneError, match=r"there is no member `a/tran.csv`; did you mean `a/train.csv`"):
        run(tmp_path, {"file": "two.zip", "member": "a/tran.csv"})
    write(tmp_path, "plain.csv", PAIRS)
    with pytest.raises(RetuneError, match=r"plain.csv is no .zip file"):
        run(tmp_path, {"file": "plain.csv", "member": "x"})


def test_a_zip_archive_writes_nothing_elsewhere_and_not_more_than_the_limit(tmp_path, monkeypatch):
    write(tmp_path, "evil.zip", zipped({"../../evil.csv": PAIRS}))
    table = {"file": "evil.zip", "member": "../../evil.csv"}
    assert run(tmp_path, table).summary["rows"] == 2
    written = list(tmp_path.rglob("*evil.csv"))
    assert written
    assert all(path.is_relative_to(tmp_path / "scratch") for path in written)
    assert not (tmp_path.parent / "evil.csv").exists()
    monkeypatch.setattr(compressed, "LARGEST", 5)
    with pytest.raises(RetuneError, match=r"unpacks to more than 5 bytes"):
        run(tmp_path, table)


@pytest.mark.parametrize("cut", [5, 60, -30])
def test_a_damaged_zip_archive_is_one_error(cut: int, tmp_path: Path):
    write(tmp_path, "cut.zip", zipped({"pairs.csv": PAIRS * 9})[:cut])
    with pytest.raises(RetuneError, match=r"cut.zip can't be unpacked \(.*\): fetch it again"):
        run(tmp_path, {"file": "cut.zip"})
