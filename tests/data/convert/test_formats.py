"""Every format and encoding gives the same rows, and broken files say where they are broken."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retune.data.convert import character_encoding, csv_records, json_records
from retune.errors import RetuneError
from tests.support.converting import run, write

pytestmark = pytest.mark.slow

ROWS = [
    ("花呗怎么还款", "如何还花呗", 1),
    ('5" 屏, 新', "a\tb", 0),
    ("第一行\n第二行", "借呗。", 0),
    ("x'y", "{[]}", 1),
]
DICTS = [dict(zip("aby", row, strict=True)) for row in ROWS]
IDS = ["e336146d8f7d9a406eb7", "a6d270819ced47a4a0c0", "2435c9752bdbc1b3c44e", "ec2c0a4ff04ca9620a2b"]
"""What a row's content hashes to, today and in every later version."""

JSON = json.dumps(DICTS, ensure_ascii=False)


def _csv(rows=ROWS, delimiter=",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([("a", "b", "y"), *rows])
    return out.getvalue()


def _table(name: str, folder) -> dict[str, object]:
    """Write ROWS in one format; the table that reads them."""
    text = {
        "csv": _csv(),
        "tsv": _csv(delimiter="\t"),
        "list.json": JSON,
        "pretty.json": json.dumps(DICTS, indent=2),
        "document.json": json.dumps({"n": {"rows": [1]}, "data": {"skip": "]", "rows": DICTS}, "z": 1}),
        "jsonl": "\n".join(json.dumps(row) for row in DICTS),
        "lines.json": "\n\n".join(json.dumps(row, ensure_ascii=False) for row in DICTS) + "\r\n",
    }
    frame = pl.DataFrame(DICTS)
    if name == "parquet":
        (folder / "raw").mkdir()
        frame.write_parquet(folder / "raw/rows.parquet")
    elif name == "xlsx":
        (folder / "raw").mkdir()
        frame.write_excel(folder / "raw/rows.xlsx")
    else:
        write(folder, f"rows.{name}", text[name])
    more = {"tsv": {"quoted": True}, "document.json": {"records": "data.rows"}}
    return {"file": f"rows.{name}", **more.get(name, {})}


@pytest.mark.parametrize(
    "name",
    ["csv", "tsv", "list.json", "pretty.json", "document.json", "jsonl", "lines.json", "parquet", "xlsx"],
)
def test_every_format_gives_the_same_rows(name, tmp_path):
    found = run(tmp_path, _table(name, tmp_path))
    assert found.triples() == ROWS
    assert found.rows["id"].to_list() == IDS
    assert found.rejects == []


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl"])
def test_the_encoding_is_found(name, codec, tmp_path):
    text = {
        "rows.csv": _csv(),
        "rows.json": JSON,
        "rows.jsonl": "\n".join(json.dumps(d, ensure_ascii=False) for d in DICTS),
    }
    write(tmp_path, name, text[name].encode(codec))
    assert run(tmp_path, {"file": name}).triples() == ROWS


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(texts, texts, st.sampled_from("01")), min_size=1, max_size=5),
    st.sampled_from(["utf-8", "utf-8-sig", "gb18030"]),
)
def test_whatever_is_written_is_read(tmp_path_factory, rows, codec):
    folder = tmp_path_factory.mktemp("round")
    stripped = [(a.strip(), b.strip(), y) for a, b, y in rows]
    wanted = [(f"甲{a}", f"乙{b}", int(y)) for a, b, y in dict.fromkeys(stripped)]
    rows = [(f"甲{a}", f"乙{b}", y) for a, b, y in stripped]
    dicts = [dict(zip("aby", row, strict=True)) for row in rows]
    write(folder, "rows.csv", _csv(rows).encode(codec))
    write(folder, "rows.jsonl", "\n".join(json.dumps(d, ensure_ascii=False) for d in dicts).encode(codec))
    write(folder, "rows.json", json.dumps(dicts, ensure_ascii=False, indent=1).encode(codec))
    for name in ("rows.csv", "rows.jsonl", "rows.json"):
        assert sorted(run(folder, {"file": name, "encoding": "auto"}).triples()) == sorted(set(wanted)), name


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30), st.integers(1, 8), st.sampled_from(["utf-8", "gb18030"]), st.data())
def test_blocks_never_change_what_is_decoded(tmp_path_factory, text, block, codec, data):
    file = tmp_path_factory.mktemp("blocks") / "text"
    good = text.encode(codec)
    file.write_bytes(good)
    assert character_encoding.first_misfit(file, codec, block) is None
    place = data.draw(st.integers(0, len(text)))
    head = text[:place].encode(codec)
    file.write_bytes(head + b"\xff" + text[place:].encode(codec))
    assert character_encoding.first_misfit(file, codec, block) == len(head)


def test_a_byte_that_fits_no_encoding_is_named_with_its_place(tmp_path):
    write(tmp_path, "rows.csv", b"a,b,y\n" + "花呗".encode() + b"\xff\xff,x,1\n")
    with pytest.raises(RetuneError, match=r"rows\.csv: byte 12 is not UTF-8 and byte \d+ is not GB18030"):
        run(tmp_path, {"file": "rows.csv"})
    write(tmp_path, "rows.csv", _csv().encode("gb18030"))
    with pytest.raises(RetuneError, match=r"byte 7 is not UTF-8; mend"):
        run(tmp_path, {"file": "rows.csv", "encoding": "utf-8"})
    write(tmp_path, "rows.csv", _csv().encode("utf-16"))
    write(tmp_path, "rows.csv", _csv().encode("utf-16") + b"x")
    with pytest.raises(RetuneError, match=r"byte \d+ is not UTF-16"):
        run(tmp_path, {"file": "rows.csv"})


def test_quotes_inside_a_field_are_plain_characters(tmp_path):
    write(tmp_path, "rows.csv", 'a,b,y\n5" disk,6" b,1\nx,"7"" c",0\n')
    assert run(tmp_path, {"file": "rows.csv"}).triples() == [('5" disk', '6" b', 1), ("x", '7" c', 0)]
    write(tmp_path, "rows.tsv", 'a\tb\ty\n"他说\t好"\t1\n')
    assert run(tmp_path, {"file": "rows.tsv"}).triples() == [('"他说', '好"', 1)]


def test_a_file_without_a_header_is_read_by_given_names(tmp_path):
    write(tmp_path, "rows.tsv", "甲\t乙\t1\n丙\t丁\t0\n")
    assert run(tmp_path, {"file": "rows.tsv", "fields": ["a", "b", "y"]}).triples() == [
        ("甲", "乙", 1),
        ("丙", "丁", 0),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "r.csv",
            'a,b,y\nx,y,1\n"open,y,1\nz,z,0\n',
            r"r\.csv:3: a quoted field opens in this record and never closes",
        ),
        ("r.csv", "a,a,y\n", r"r\.csv:1: the header line names `a` twice"),
        ("r.csv", "", r"r\.csv:1: the header line is empty"),
        ("r.csv", "a,b,z\nx,y,1\n", r"r\.csv has no field `y` \(it has a, b, z\)"),
        ("r.json", '[{"a": 1},\n {"a": }]', r"r\.json:2: broken JSON \(Expecting value\)"),
        ("r.json", '[{"a": 1}\n {"a": 1}]', r"r\.json:2: broken JSON \(`,` or `\]` is missing"),
        ("r.json", '[{"a": 1},\n]', r"r\.json:2: broken JSON \(a comma before the end"),
        ("r.json", '[{"a": 1},\n{"a": "x', r"r\.json:2: broken JSON \(Unterminated string"),
        ("r.json", "[]\n[]", r"r\.json:2: broken JSON \(more text after the end of the list\)"),
        ("r.json", '{"a": 1}', r"r\.json:1: no list at the top"),
        ("r.parquet", "PAR", r"r\.parquet can't be read as parquet"),
        ("r.xlsx", "PK", r"r\.xlsx can't be read as xlsx"),
        ("r.txt", "x", r"`\.txt` tells no format"),
        ("r.jsonl", "\n\n", "the files hold no record at all"),
        ("r.json", "[]", "the files hold no record at all"),
    ],
)
def test_a_broken_file_is_an_error_that_names_the_place(name, text, message, tmp_path):
    write(tmp_path, name, text)
    with pytest.raises(RetuneError, match=message):
        run(tmp_path, {"file": name})


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_a_name_that_tells_another_layout_stops_nothing(name, tmp_path):
    one = [json.dumps(row, ensure_ascii=False) for row in DICTS]
    for text in (
        JSON,
        JSON.replace("}, {", "},\n{"),
        "".join(one),
        "\n".join(json.dumps(row, indent=1) for row in DICTS),
    ):
        write(tmp_path, name, text)
        assert run(tmp_path, {"file": name}).triples() == ROWS
    write(tmp_path, name, json.dumps({"data": {"rows": DICTS}}))
    assert run(tmp_path, {"file": name, "records": "data.rows"}).triples() == ROWS


def test_a_wrong_records_path_is_an_error(tmp_path):
    write(tmp_path, "r.json", '{"data": {"rows": 5}}')
    for path, message in {
        "data.list": "no `list`",
        "data.rows": "no list at `data.rows`",
        "data.rows.x": "no object",
    }.items():
        with pytest.raises(RetuneError, match=message):
            run(tmp_path, {"file": "r.json", "records": path})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(values, max_size=5), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_read_in_blocks_of_any_size(tmp_path_factory, records, block, indent, escaped):
    file = tmp_path_factory.mktemp("list") / "list.json"
    text = json.dumps({"x": {"a": 1, "rows": records}}, indent=indent, ensure_ascii=escaped)
    file.write_text(text, encoding="utf-8", newline="")
    found = list(json_records.Reader(file, "utf-8", block).records("x.rows"))
    assert [json.loads(row) for _, row in found] == records
    lines = text.split("\n")
    for line, row in found:
        assert row.split("\n")[0].strip() in lines[line - 1]


@pytest.mark.parametrize("name", ["csv", "json"])
def test_a_large_text_file_is_read_in_bounded_memory(name, tmp_path):
    file = tmp_path / "large"
    record = {"a": "花呗" * 200, "b": "借呗" * 200, "y": 1}
    with file.open("w", encoding="utf-8") as stream:
        line = ",".join(map(str, record.values())) + "\n" if name == "csv" else json.dumps(record) + ",\n"
        stream.write("a,b,y\n" if name == "csv" else "[")
        stream.writelines(line for _ in range(8000))
        stream.write("" if name == "csv" else "{}]")
    size = 1 << 19
    tracemalloc.start()
    if name == "csv":
        frames = csv_records.batches(file, "utf-8", csv_records.Dialect(",", True), ["a", "b", "y"], True, size)
    else:
        frames = json_records.batches(file, "utf-8", None, size=size)
    rows = sum(frame.height for frame in frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 8000 + (name == "json")
    assert peak < 8 * size + (8 << 20) < file.stat().st_size
