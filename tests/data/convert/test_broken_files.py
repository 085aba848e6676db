"""Files as people have them: read, rejected with place and reason, or refused in one error; no record goes unaccounted.

`python -m tests.support.broken_files 2000` runs many more of the generated ones.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.convert import compressed, csv_records
from retune.errors import RetuneError
from tests.support import broken_files
from tests.support.broken_files import File
from tests.support.converting import PAIR, run, write

ROW = b'{"a": "x", "b": "y", "y": 1}'
HAND_MADE = [
    File("r.csv", b"", 0),
    File("r.csv", b"\xef\xbb\xbf", 0),
    File("r.csv", b"\n\n\n", 0),
    File("r.csv", b'a,b,y\n"', 1),
    File("r.csv", b'"a,b,y\nx,y,1\n"z",y,1\n', 0),
    File("r.csv", b'a"b,b,y\nx,y,1\n', 0),
    File("r.csv", b"a,b,y\r\rx,y,1\r", 1),
    File("r.csv", b"sep=;\r\na;b;y\r\nx;y;1\r\n", 1),
    File("r.csv", b"PK\x03\x04", 0),
    File("r.csv", b"a,b,y\n" + b"x" * 70000 + b",y,1\n", 1),
    File("r.json", b"[" * 100_000, 0),
    File("r.json", b'[{"a": ' + b"[" * 500 + b"]" * 500 + b', "b": "y", "y": 1}]', 1),
    File("r.jsonl", b'{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b', "b": "y", "y": 1}', 1),
    File("r.jsonl", b'{"a": ' + b"9" * 5000 + b', "b": "y", "y": 1}', 1),
    File("r.json", b'[{"a": ' + b"9" * 5000 + b', "b": "y", "y": 1}]', 1),
    File("r.jsonl", b'{"a": 1e999, "b": "y", "y": 1}', 1),
    File("r.jsonl", b'{"a": "\\ud83d", "b": "y", "y": 1}', 1),
    File("r.json", b"null", 0),
    File("r.json", ROW, 0),
    File("r.json", ROW + b"}", 0),
    File("r.json", b"{1: 2}", 0, {"records": "x"}),
    File("r.jsonl", ROW + b",\n" + ROW + b",\n", 2),
    File("r.xlsx", b"PK\x03\x04", 0),
    File("r.xlsx", ROW, 0),
    File("r.parquet", b"PAR1" + bytes(40) + b"PAR1", 0),
    File("r.csv.gz", gzip.compress(b"a,b,y\nx,y,1\n", mtime=0)[:-9], 0),
]


@pytest.mark.parametrize("file", HAND_MADE, ids=lambda file: f"{file.name}-{file.content[:12]!r}")
def test_a_file_that_someone_had_is_read_rejected_or_refused(file: File, tmp_path: Path) -> None:
    broken_files.outcome(tmp_path, file)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32))
def test_a_generated_file_is_read_rejected_or_refused(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    broken_files.outcome(tmp_path_factory.mktemp("file"), broken_files.generated(seed))


def rows(count: int) -> list[str]:
    return [f"\u95ee\u9898{i},\u53e6\u4e00{i},{i % 2}" for i in range(count)]


@pytest.mark.parametrize(("opens", "closes"), [(10, 700), (10, 12), (10, 11), (998, 999), (10, None)])
def test_a_stray_quote_costs_its_line_and_no_other(opens: int, closes: int | None, tmp_path: Path) -> None:
    lines = rows(1000)
    lines[opens] = '"5\u5bf8\u5c4f,\u624b\u673a,1'
    if closes:
        lines[closes] = '\u5c4f\u5e555",\u5c4f\u5e55,1'
    write(tmp_path, "r.csv", "a,b,y\n" + "\n".join(lines) + "\n")
    found = run(tmp_path, {"file": "r.csv"}, max_rejects=0.01)
    assert (found.summary["rows"], found.summary["records"]) == (999, 1000)
    (reject,) = found.rejects
    assert (reject["line"], reject["row"]) == (opens + 2, lines[opens])
    assert (f"closes in line {closes + 2} only" if closes else "never closes") in reject["reason"]


@pytest.mark.parametrize("quoted", [False, True])
def test_a_stray_quote_before_quoted_fields_costs_its_line_and_no_other(quoted: bool, tmp_path: Path) -> None:
    lines = [f'"\u95ee, {i}",\u53e6\u4e00{i},{i % 2}' if quoted or i == 20 else line for i, line in enumerate(rows(50))]
    lines[10] = '"5\u5bf8\u5c4f,\u624b\u673a,1'
    write(tmp_path, "r.csv", "a,b,y\n" + "\n".join(lines))
    found = run(tmp_path, {"file": "r.csv"}, max_rejects=0.1)
    assert ([reject["line"] for reject in found.rejects], found.summary["rows"]) == ([12], 49)


@pytest.mark.parametrize(
    "text",
    [
        "first, line\nsecond",
        "Dear all,\nas said, it works,\nyours, Ann",
        json.dumps({str(i): i for i in range(40)}, indent=1),
        "\n".join(f"line {i} of a long text, which has a comma" for i in range(300)),
        "a\n\n\nb",
        'said "so"\nand "so"',
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_text_of_several_lines_is_one_field(text: str, place: int, tmp_path: Path) -> None:
    table = pl.DataFrame({"a": [f"{text}{i}" for i in range(5)], "b": ["x"] * 5, "y": ["1"] * 5})
    order = ["a", "b", "y"] if place == 0 else ["y", "b", "a"]
    write(tmp_path, "r.csv", table.select(order).write_csv())
    found = run(tmp_path, {"file": "r.csv"})
    assert found.rows["text_a"].to_list() == table["a"].to_list()


def test_a_quote_that_goes_on_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "LONGEST", 5)
    write(tmp_path, "r.csv", 'a,b,y\n"open,y,1\n' + "words\n" * 9 + 'end",y,1\nx,y,1\n')
    found = run(tmp_path, {"file": "r.csv"}, max_rejects=1.0)
    assert [reject["line"] for reject in found.rejects] == list(range(2, 12))
    assert found.triples() == [('end"', "y", 1), ("x", "y", 1)]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("start", ["", "sep={}\r\n"])
def test_the_separator_is_what_the_first_line_shows(separator: str, start: str, tmp_path: Path) -> None:
    lines = [separator.join(one) for one in ("aby", ("x, y", "z", "1"))]
    write(tmp_path, "r.csv", (start.format(separator) + "\r\n".join(lines)).encode("utf-16"))
    assert run(tmp_path, {"file": "r.csv"}).triples() == [("x, y", "z", 1)]
    write(tmp_path, "r.csv", "a|b;c|y\nx|z|1\n")
    table = {"file": "r.csv", "separator": "|", "columns": PAIR | {"text_b": "b;c"}}
    assert run(tmp_path, table).triples() == [("x", "z", 1)]


def book(folder: Path) -> None:
    (folder / "raw").mkdir(exist_ok=True)
    with xlsxwriter.Workbook(str(folder / "raw/book[1].xlsx")) as file:
        for name, start, hidden in (("2023", 2, False), ("2024", 0, True), ("empty", None, False)):
            sheet = file.add_worksheet(name)
            if hidden:
                sheet.hide()
            if start is not None:
                sheet.write_row(start, 1, ["a", "b", "y"])
                sheet.write_row(start + 1, 1, [name, "x", 1])
                sheet.write_row(start + 3, 1, [f"{name}!", "x", 2])
        file.get_worksheet_by_name("2024").write_row(0, 5, ["a"])


def test_sheets_that_are_not_read_are_told_and_one_can_be_named(tmp_path: Path, caplog: Any) -> None:
    book(tmp_path)
    caplog.set_level(logging.INFO)
    table = {"file": "book[1].xlsx"}
    found = run(tmp_path, table, max_rejects=0.5)
    assert found.rows["text_a"].to_list() == ["2023"]
    assert found.rejects[0]["line"] == 6
    assert "the sheet `2023` is read, and not `2024`; give the table `sheet: NAME`" in caplog.text
    found = run(
        tmp_path, table | {"header_row": 4, "columns": {"text_a": "2023", "text_b": "x", "label": {"value": 1}}}
    )
    assert found.rows["text_a"].to_list() == ["2023!"]
    for more, said in (
        ({"sheet": "2025"}, "there is no sheet `2025`"),
        ({"sheet": "2024"}, "row 1 of the sheet `2024`: the header names `a` twice"),
        ({"header_row": 60}, "the sheet `2023` has no header in row 60"),
    ):
        with pytest.raises(RetuneError, match=said):
            run(tmp_path, table | more)


def test_another_encoding_is_read_where_it_is_said_and_never_taken_for_gb18030(tmp_path: Path, caplog: Any) -> None:
    text = "a,b,y\n" + "".join(
        f"\u7b2c{i}\u671f\u5e33\u55ae\u5982\u4f55\u9084\u6b3e,\u5e33\u55ae,{i % 2}\n" for i in range(9)
    )
    write(tmp_path, "r.csv", text.encode("big5"))
    with pytest.raises(
        RetuneError, match=r"byte 6 is not UTF-8, and as GB18030 line 2 holds U\+E\w+, which no text has"
    ):
        run(tmp_path, {"file": "r.csv"})
    found = run(tmp_path, {"file": "r.csv", "encoding": "big5"})
    assert found.rows["text_a"][0] == "\u7b2c0\u671f\u5e33\u55ae\u5982\u4f55\u9084\u6b3e"
    write(tmp_path, "r.csv", text.encode("gb18030"))
    assert run(tmp_path, {"file": "r.csv"}).rows["text_a"][0] == found.rows["text_a"][0]
    assert (
        "byte 6 is not UTF-8, so it is read as GB18030 (`\u7b2c0\u671f\u5e33\u55ae\u5982\u4f55\u9084\u6b3e`)"
        in caplog.text
    )
    for name in ("big6", "punycode", "rot13", "undefined", "base64"):
        with pytest.raises(ValueError, match=f"there is no encoding `{name}`"):
            run(tmp_path, {"file": "r.csv", "encoding": name})


@pytest.mark.parametrize(
    "value",
    [b"\xff", {"bytes": b"\xff"}, [b"\xff"], pl.Series([1], dtype=pl.Duration)[0]],
    ids=["bytes", "struct", "list", "span"],
)
def test_a_parquet_column_that_nobody_maps_is_not_read(value: Any, tmp_path: Path) -> None:
    write(tmp_path, "r.parquet", b"")
    frame = pl.DataFrame({"a": ["x"], "b": ["y"], "y": [1], "more": [value]})
    frame.write_parquet(tmp_path / "raw/r.parquet")
    assert run(tmp_path, {"file": "r.parquet"}).triples() == [("x", "y", 1)]
    with pytest.raises(
        RetuneError, match=r"r\.parquet: the column `more` is of type \w+.*neither text nor JSON; map another"
    ):
        run(tmp_path, {"file": "r.parquet", "columns": PAIR | {"reasoning": "more"}})


def test_half_an_emoji_in_an_exploded_list_is_one_reject_with_its_line(tmp_path: Path) -> None:
    lines = [{"q": f"q{i}", "hits": [{"t": "\u597d\ud83d" if i == 7 else f"t{i}", "y": 1}]} for i in range(20)]
    write(tmp_path, "r.jsonl", "\n".join(map(json.dumps, lines)))
    frame = pl.DataFrame({"q": [line["q"] for line in lines], "hits": [json.dumps(line["hits"]) for line in lines]})
    write(tmp_path, "r.csv", frame.write_csv())
    columns = {"text_a": "q", "text_b": "value.t", "label": "value.y"}
    for name, place in (("r.jsonl", 8), ("r.csv", 9)):
        table = {"file": name, "explode": {"field": "hits"}, "columns": columns}
        found = run(tmp_path, table, max_rejects=0.05)
        (reject,) = found.rejects
        assert (reject["line"], found.summary["rows"]) == (place, 19)
        assert "broken JSON (half a surrogate pair, `\\ud83d`, at character " in reject["reason"]
    columns = {"text_a": "q", "text_b": {"value": "x"}, "label": {"value": 1}, "reasoning": "hits.0.t"}
    (reject,) = run(tmp_path, {"file": "r.csv", "columns": columns}, max_rejects=0.05).rejects
    assert (reject["line"], reject["reason"]) == (9, "`reasoning` is in broken JSON (field `hits.0.t`)")


def test_a_whole_number_beyond_64_bits_keeps_its_digits(tmp_path: Path) -> None:
    large = "123456789012345678901234567890"
    write(tmp_path, "r.jsonl", f'{{"a": "x", "b": "y", "y": 1, "n": {large}}}\n')
    write(tmp_path, "l.jsonl", f'{{"a": "x", "hits": [{{"b": "y", "n": {large}}}]}}\n')
    assert run(tmp_path, {"file": "r.jsonl", "columns": PAIR | {"id": "n"}}).rows["id"].to_list() == [large]
    columns = {"text_a": "a", "text_b": "value.b", "label": {"value": 1}, "id": "value.n"}
    table = {"file": "l.jsonl", "explode": {"field": "hits"}, "columns": columns}
    assert run(tmp_path, table).rows["id"].to_list() == [large]
    write(tmp_path, "c.csv", f'a,b,y,m\nx,y,1,"{{""n"": {large}}}"\n')
    assert run(tmp_path, {"file": "c.csv", "columns": PAIR | {"id": "m.n"}}).rows["id"].to_list() == [large]


@pytest.mark.parametrize("name", ["r.json", "r.jsonl", "r.parquet", "r.xlsx", "r.csv"])
def test_a_field_that_no_record_has_is_an_error_with_the_nearest_name(name: str, tmp_path: Path) -> None:
    records = [{"a": f"x{i}", "b": "y", "y": 1, "sub_set": "train", "n": {"why": "so"}} for i in range(300)]
    frame = pl.DataFrame(records)
    flat = frame.with_columns(pl.col("n").struct.json_encode())
    made = {"r.parquet": frame.write_parquet, "r.xlsx": flat.write_excel, "r.csv": flat.write_csv}
    out = io.BytesIO()
    if name in made:
        made[name](out)
    else:
        lines = [json.dumps(record) for record in records]
        out.write((json.dumps(records) if name == "r.json" else "\n".join(lines)).encode())
    write(tmp_path, name, out.getvalue())
    good = run(tmp_path, {"file": name, "columns": PAIR | {"split": "sub_set", "reasoning": "n.why"}})
    assert set(good.rows["reasoning"]) == {"so"}
    for column, field, near in (("split", "subset", "sub_set"), ("reasoning", "n.wy", "n.why")):
        with pytest.raises(RetuneError, match=rf"field `{field}`; (did|do) you mean `{near}`\?"):
            run(tmp_path, {"file": name, "columns": PAIR | {column: field}})


def test_a_field_that_one_record_of_one_file_has_or_that_is_null_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, "1.jsonl", ROW + b"\n")
    write(tmp_path, "2.jsonl", b'{"a": "z", "b": "y", "y": 0, "why": null}\n')
    assert len(run(tmp_path, {"file": "*.jsonl", "columns": PAIR | {"reasoning": "why"}}).rows) == 2
    with pytest.raises(RetuneError, match=r"no record of \*\.jsonl has the field `who`"):
        run(tmp_path, {"file": "*.jsonl", "columns": PAIR | {"reasoning": "who"}})


def test_a_misspelt_field_of_a_joined_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "r.csv", "a,b,y\nx,y,1\n")
    write(tmp_path, "j.jsonl", b'{"why": "so"}\n')
    table = {"file": "r.csv", "join": {"file": "j.jsonl"}}
    with pytest.raises(RetuneError, match=r"has the field `\$join\.wy`; did you mean `\$join\.why`\?"):
        run(tmp_path, table | {"columns": PAIR | {"reasoning": "$join.wy"}})


def test_brackets_in_a_name_lock_files_and_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "data[1].csv", "a,b,y\nx,y,1\n")
    write(tmp_path, "~$data.csv", b"\x00lock")
    write(tmp_path, "z.jsonl.gz", gzip.compress(ROW))
    assert run(tmp_path, {"file": "data[1].csv"}).triples() == run(tmp_path, {"file": "*.csv"}).triples()
    assert run(tmp_path, {"file": "z.jsonl.gz"}).triples() == [("x", "y", 1)]
    monkeypatch.setattr(compressed, "LARGEST", 9)
    with pytest.raises(RetuneError, match=r"z\.jsonl\.gz unpacks to more than 9 bytes"):
        run(tmp_path, {"file": "z.jsonl.gz"})
