"""What the mapping language of data/catalog.yaml can say."""

from __future__ import annotations

import json

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.convert.fields import JOIN, field
from retune.data.convert.records import read
from retune.errors import RetuneError
from tests.support.converting import run, write


def _lines(*records) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _columns(text: str) -> dict:
    return yaml.safe_load(text)


def test_a_prompt_and_a_completion_give_two_texts_a_label_and_a_reason(tmp_path):
    write(
        tmp_path,
        "products.csv",
        "prompt,completion\n"
        '"Same? Entity 1: \'Lego, 5"" set\'. Entity 2: \'LEGO set\'.","Yes. Both are Lego."\n'
        "Same? Entity 1: 'TV'. Entity 2: 'Men''s watch'.,No. They differ.\n",
    )
    columns = _columns(r"""
        text_a: {from: prompt, regex: "Entity 1: '(.*?)'\\. Entity 2: "}
        text_b: {from: prompt, regex: "Entity 2: '(.*)'\\.$"}
        label: {from: completion, regex: '^\w+\.', map: {"Yes.": 1, "No.": 0}}
        reasoning: {from: completion, regex: '^(?:Yes|No)\. (.*)'}
    """)
    found = run(tmp_path, {"file": "products.csv", "columns": columns})
    assert found.rows.select("text_a", "text_b", "label", "reasoning").rows() == [
        ('Lego, 5" set', "LEGO set", 1, "Both are Lego."),
        ("TV", "Men''s watch", 0, "They differ."),
    ]


def test_nested_fields_and_json_inside_a_csv_field(tmp_path):
    record = {"q": {"a": "甲", "list": ["x", {"z": "乙"}]}, "llm.label": 1, "0": "zero"}
    columns = {"text_a": "q.a", "text_b": "q.list.1.z", "label": "llm.label", "reasoning": "0"}
    write(tmp_path, "r.jsonl", _lines(record))
    found = run(tmp_path, {"file": "r.jsonl", "columns": columns})
    assert found.rows.select("text_a", "text_b", "label", "reasoning").rows() == [("甲", "乙", 1, "zero")]
    frame = pl.DataFrame({"n": [1], "analysis": [json.dumps(record["q"])]})
    (tmp_path / "raw/r.csv").write_text(frame.write_csv(), encoding="utf-8")
    frame.with_columns(
        analysis=pl.Series([record["q"]["a"]]), q=pl.Series([{"a": "甲", "b": ["x", "y"]}])
    ).write_parquet(tmp_path / "raw/r.parquet")
    columns = {"text_a": "analysis.a", "text_b": "analysis.list.1.z", "label": "n"}
    assert run(tmp_path, {"file": "r.csv", "columns": columns}).triples() == [("甲", "乙", 1)]
    columns = {"text_a": "q.a", "text_b": "q.b.1", "label": "n"}
    assert run(tmp_path, {"file": "r.parquet", "columns": columns}).triples() == [("甲", "y", 1)]


@pytest.mark.parametrize("label", [1, "1", 1.0, "1.0", " 1 "])
@pytest.mark.parametrize("mapped", [False, True])
def test_labels_may_be_texts_or_numbers(label, mapped, tmp_path):
    write(tmp_path, "r.jsonl", _lines({"a": "x", "b": "y", "y": label}))
    columns = {"text_a": "a", "text_b": "b", "label": {"from": "y", "map": {"1": 1, "0": 0}} if mapped else "y"}
    assert run(tmp_path, {"file": "r.jsonl", "columns": columns}).triples() == [("x", "y", 1)]


def test_booleans_constants_several_fields_and_white_space(tmp_path):
    write(tmp_path, "day 1.jsonl", _lines({"brand": " A ", "title": "", "price": 5, "b": "  y ", "same": True}))
    columns = _columns("""
        text_a: {from: [brand, title, price], join: "|"}
        text_b: {from: b, strip: false}
        label: {from: same, map: {"true": 1, "false": 0}}
        reasoning: {from: [$file, $line], join: ":"}
        group: {value: 7}
    """)
    found = run(tmp_path, {"file": "*.jsonl", "columns": columns})
    row = found.rows.select("text_a", "text_b", "label", "reasoning", "group").row(0)
    assert row == ("A |5", "  y ", 1, "day 1:1", "7")


def test_a_dict_is_exploded_into_rows(tmp_path):
    records = [
        {"text": "对话", "dimensions": {"流畅": {"score": 9, "reason": "好"}, "完整": {"score": "2", "reason": None}}},
        {"text": "另一", "dimensions": {"流畅": {"score": 1}}},
    ]
    columns = _columns("""
        text_a: text
        text_b: dimension
        label: {from: value.score, map: {"9": 1, "1": 0, "2": 0}}
        reasoning: value.reason
    """)
    table = {"explode": {"field": "dimensions", "key": "dimension"}, "columns": columns}
    wanted = [("对话", "流畅", 1, "好"), ("对话", "完整", 0, None), ("另一", "流畅", 0, None)]
    write(tmp_path, "r.jsonl", _lines(*records))
    text = "text,dimensions\n" + "".join(
        f'{r["text"]},"{json.dumps(r["dimensions"], ensure_ascii=False).replace(chr(34), chr(34) * 2)}"\n'
        for r in records
    )
    write(tmp_path, "r.csv", text)
    write(tmp_path, "r.json", json.dumps(records))
    for name in ("r.jsonl", "r.csv", "r.json"):
        found = run(tmp_path, {"file": name, **table})
        assert found.rows.select("text_a", "text_b", "label", "reasoning").rows() == wanted, name


def test_a_list_is_exploded_with_positions(tmp_path):
    columns = {"text_a": "q", "text_b": "value.t", "label": "value.y", "reasoning": "key"}
    hits = [[{"t": "x", "y": 1}, {"t": "y", "y": 0}], [{"t": "z", "y": 0}]]
    pl.DataFrame({"q": ["甲", "丙"], "hits": hits}).write_parquet(write(tmp_path, "r.parquet", ""))
    found = run(tmp_path, {"file": "r.parquet", "explode": {"field": "hits"}, "columns": columns})
    assert found.rows.select("text_a", "text_b", "label", "reasoning").rows() == [
        ("甲", "x", 1, "0"), ("甲", "y", 0, "1"), ("丙", "z", 0, "0")
    ]  # fmt: skip


def test_what_cannot_be_exploded_is_rejected(tmp_path):
    good = {"q": "a", "hits": [{"t": "x", "y": 1}]}
    bad = [{"q": "b", "hits": []}, {"q": "c"}, {"q": "d", "hits": "no"}, {"q": "e", "hits": [1], "key": 1}]
    write(tmp_path, "r.jsonl", _lines(good, *bad))
    columns = {"text_a": "q", "text_b": "value.t", "label": "value.y"}
    found = run(tmp_path, {"file": "r.jsonl", "explode": {"field": "hits"}, "columns": columns}, max_rejects=0.9)
    assert found.triples() == [("a", "x", 1)]
    assert [(reject["line"], reject["reason"]) for reject in found.rejects] == [
        (2, "`hits` is empty"),
        (3, "`hits` is no list or dict"),
        (4, "`hits` is no list or dict"),
        (5, "`key` is a field already, so `explode` needs another name for it"),
    ]


ESSAY = {
    "text_a": "title",
    "text_b": {"from": "para", "join": ""},
    "label": {"from": "$join.score", "map": {"Great": 1, "Bad": 0}},
}


def test_two_files_are_joined_by_line(tmp_path):
    write(
        tmp_path,
        "text.jsonl",
        _lines({"title": "一", "para": [["甲。"], [["乙。"], "丙。"]]})
        + "\n"
        + _lines({"title": "二", "para": ["丁"]}),
    )
    write(tmp_path, "score.csv", "score\nGreat\nBad\n")
    table = {"file": "text.jsonl", "join": {"file": "score.csv"}, "columns": ESSAY}
    assert run(tmp_path, table).triples() == [("一", "甲。乙。丙。", 1), ("二", "丁", 0)]
    write(tmp_path, "score.csv", "score\nGreat\n")
    with pytest.raises(
        RetuneError, match=r"text\.jsonl has 2 records and .*score\.csv has 1: a join by line needs as many"
    ):
        run(tmp_path, table)


def test_a_broken_line_does_not_shift_a_join(tmp_path):
    write(
        tmp_path,
        "text.jsonl",
        _lines({"title": "一", "para": "甲"}) + "{oops\n" + _lines({"title": "三", "para": "丙"}),
    )
    write(tmp_path, "score.jsonl", _lines({"score": "Great"}, {"score": "Great"}, {"score": "Bad"}))
    found = run(tmp_path, {"file": "text.jsonl", "join": {"file": "score.jsonl"}, "columns": ESSAY}, max_rejects=0.5)
    assert found.triples() == [("一", "甲", 1), ("三", "丙", 0)]
    assert found.rejects[0]["row"] == '{oops\n{"score": "Great"}'


def test_two_files_are_joined_by_key(tmp_path):
    write(tmp_path, "pairs.csv", "id,a,b\n1,x,y\n2,z,w\n3,q,r\n")
    write(tmp_path, "labels.jsonl", _lines({"id": 2, "y": 0}, {"id": "1", "y": 1}, {"id": 9, "y": 1}))
    columns = {"text_a": "a", "text_b": "b", "label": "$join.y", "id": "id"}
    table = {"file": "pairs.csv", "join": {"file": "labels.jsonl", "by": "id"}, "columns": columns}
    found = run(tmp_path, table, max_rejects=0.5)
    assert found.triples() == [("x", "y", 1), ("z", "w", 0)]
    assert found.rejects == [
        {
            "file": "pairs.csv",
            "line": 4,
            "reason": "labels.jsonl has no record with the same `id`",
            "row": '{"id":"3","a":"q","b":"r"}',
        }
    ]
    write(tmp_path, "labels.jsonl", _lines({"id": 2, "y": 0}, {"id": "2", "y": 1}))
    with pytest.raises(RetuneError, match=r"labels\.jsonl has `id` = '2' more than once"):
        run(tmp_path, table)


def test_a_glob_reads_its_files_in_order_and_keeps_official_splits(tmp_path):
    write(tmp_path, "b/part.csv", "a,b,y,s\n2,x,1,train\n")
    write(tmp_path, "a/part.csv", "a,b,y,s\n1,x,1,validation\n3,x,0,\n")
    write(tmp_path, "test.csv", "a,b,y\n4,x,0\n")
    write(tmp_path, "SOURCE.json", '{"license": "Apache-2.0"}')
    columns = {
        "text_a": "a",
        "text_b": "b",
        "label": "y",
        "split": {"from": "s", "map": {"train": "train", "validation": "dev"}},
    }
    found = run(tmp_path, {"file": "*/part.csv", "columns": columns}, {"file": "test.csv", "split": "test"})
    assert found.rows.select("text_a", "split").rows() == [("1", "dev"), ("3", None), ("2", "train"), ("4", "test")]
    assert list(found.summary["files"]) == ["a/part.csv", "b/part.csv", "test.csv"]
    assert found.summary["license"] == "Apache-2.0"
    assert found.summary["splits"] == {"train": 1, "dev": 1, "test": 1}
    assert found.summary["shared_texts"] == {"train, dev": 1, "train, test": 1, "dev, test": 1}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"file": "no*.csv"}, r"no file in .* fits `no\*\.csv` \(there are: r\.csv\)"),
        ({"columns": {"text_a": "aa", "text_b": "b", "label": "y"}}, r"no field `aa`; do you mean `a`\?"),
        ({"columns": {"text_a": "a", "text_b": "b", "lable": "y"}}, r"gives `lable`, but the columns are id, group"),
        ({"columns": {"text_a": "$join.a", "text_b": "b", "label": "y"}}, "the table has no `join`"),
        (
            {"columns": {"text_a": {"from": "a", "regex": "("}, "text_b": "b", "label": "y"}},
            r"`text_a` a broken regex /\(/",
        ),
        ({"join": {"file": "*"}}, None),
    ],
)
def test_a_wrong_mapping_is_an_error(table, message, tmp_path):
    write(tmp_path, "r.csv", "a,b,y\nx,y,1\n")
    if message is None:
        write(tmp_path, "s.csv", "z\n1\n")
        message = r"`join\.file: \*` fits 2 files"
        table = {"file": "r.csv", **table}
    with pytest.raises(RetuneError, match=message):
        run(tmp_path, {"file": "r.csv", **table})


keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=".\\"), min_size=1, max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.lists(keys, min_size=1, max_size=3), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_nested_field_of_any_name_is_found(tmp_path_factory, path, value):
    folder = tmp_path_factory.mktemp("nested")
    record = value
    for key in reversed(path):
        record = {key: record, "other": 1} if key != "other" else {key: record}
    file = write(folder, "r.jsonl", json.dumps(record))
    records = read(file, {}, folder / "scratch")
    if not ".".join(path).startswith(("$file", "$line", JOIN)):
        found = records.frame.select(field(".".join(path), records, None, file)).collect().item()
        assert found == value
