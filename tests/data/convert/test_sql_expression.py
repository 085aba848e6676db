"""SQL in a mapping: what it can say, what it can't reach, and that a bad value costs its own row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retune.data.convert.sql_expression import evaluated, parsed
from retune.errors import RetuneError
from retune.pipeline.schema.catalog import Column, Table
from tests.support.converting import PAIR, run, write

SECRET = "the-first-line-of-a-file"


def values(text: str, **fields: list[str | None]) -> list[str | None]:
    """The result of an expression for each row."""
    return evaluated(pl.DataFrame(fields, schema=dict.fromkeys(fields, pl.String)), parsed(text))["value"].to_list()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CASE WHEN CAST(a AS DOUBLE) >= 4 THEN 'good' ELSE 'bad' END", ["good", "bad", "bad"]),
        ("ROUND(CAST(a AS DOUBLE) / 5, 2)", ["0.84", "0.4", None]),
        ("CAST(a AS DOUBLE) * 10", ["42", "20", None]),
        ("COALESCE(a, 'none')", ["4.2", "2", "none"]),
        ("REPLACE(b, 'x', 'z')", ["z1", "y", None]),
        ("SPLIT_PART(c, '|', 2)", ["q", "s", None]),
        ("UPPER(b) || '-' || c", ["X1-p|q", "Y-r|s", None]),
        ("b LIKE 'x%' AND NOT (c = 'no')", ["true", "false", None]),
        ("a IS DISTINCT FROM b", ["true", "true", "false"]),
        ("LENGTH(b) BETWEEN 2 AND 3", ["true", "false", None]),
        ("'constant'", ["constant"] * 3),
        ("a || 'it''s -- no comment; SELECT'", [f"{a}it's -- no comment; SELECT" for a in ("4.2", "2")] + [None]),
    ],
)
def test_an_expression_says_what_a_mapping_lacks(text, wanted):
    fields = {"a": ["4.2", "2", None], "b": ["x1", "y", None], "c": ["p|q", "r|s", None]}
    assert values(text, **fields) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "read_csv('{file}')",
        "(SELECT a FROM read_csv('{file}'))",
        "a IN (SELECT a FROM read_csv('{file}'))",
        "EXISTS (SELECT 1 FROM read_csv('{file}'))",
        "(FROM read_csv('{file}'))",
        "(TABLE read_csv('{file}'))",
        "(WITH t AS (SELECT 1) SELECT * FROM t)",
        "(VALUES (1))",
        "a = \"read_csv\"('{file}')",
        "read_csv/**/('{file}')",
        "read_parquet ('{file}')",
        "a -- '\n(SELECT a FROM read_csv('{file}'))",
        "E'\\' || (SELECT a FROM read_csv('{file}')) || '\\''",
        "'\\' || (SELECT a FROM read_csv('{file}')) || '\\'",
        "$$ a $$",
        "U&'a'",
        "`a`",
        "a; SELECT 1",
        "COLUMNS('a')",
        "UNNEST(a)",
        "SUM(a)",
        "COUNT(*)",
        "FIRST(a)",
        "a OVER ()",
        "ROW_NUMBER() OVER (ORDER BY a)",
        "RANDOM()",
        "UUID()",
        "NOW()",
        "CURRENT_DATE",
        "current_timestamp",
        "*",
        "",
        "a,",
        "a b c",
    ],
)
def test_an_expression_reaches_no_file_no_other_record_no_clock_and_no_chance(text, tmp_path):
    file = tmp_path / "secret.csv"
    file.write_text(f"{SECRET}\n1\n")
    with pytest.raises(RetuneError) as raised:
        parsed(text.format(file=file))
    assert SECRET not in str(raised.value)


def test_polars_itself_would_read_the_file(tmp_path):
    """Why words are refused before polars sees them: parsing alone opens it."""
    file = tmp_path / "secret.csv"
    file.write_text(f"{SECRET}\n1\n")
    with pytest.raises(pl.exceptions.PolarsError, match=SECRET):
        pl.sql_expr(f"(SELECT a FROM read_csv('{file}'))")


TOKENS = [
    "a", "'x'", "(", ")", "||", "SELECT", "FROM", "read_csv", "'FILE'", "(SELECT a FROM read_csv('FILE'))", "'", '"',
    "\\", "--", "/*", "*/", "E", "$$", "$", "`", ";", "\n", "CASE", "WHEN", "THEN", "END", ",", "N", "x", "''", "::",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=9), st.sampled_from(["", " "]))
def test_no_sequence_of_signs_opens_a_file(tmp_path_factory, tokens, between):
    file = tmp_path_factory.getbasetemp() / "secret.csv"
    file.write_text(f"{SECRET}\n1\n")
    try:
        said = str(parsed(between.join(tokens).replace("FILE", str(file))).polars)
    except RetuneError as error:
        said = str(error)
    assert SECRET not in said


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([None, "1", "x", "", "2020-01-01", "-3.5", "0", "1e9", "a|b", "花"]), min_size=1),
    st.sampled_from(
        [
            "CAST(a AS DOUBLE) + 1",
            "1 / CAST(a AS DOUBLE)",
            "CAST(a AS DATE)",
            "SPLIT_PART(a, '|', 1)",
            "TRY_CAST(a AS BIGINT)",
        ]
    ),
)
def test_a_row_has_the_result_that_it_has_alone(column, text):
    expression = parsed(text)
    frame = pl.DataFrame({"a": column}, schema={"a": pl.String})
    alone = [evaluated(frame.slice(at, 1), expression).row(0) for at in range(len(column))]
    assert alone == evaluated(frame, expression).rows()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("price > 3", r"compare string with numeric.*CAST\(field AS DOUBLE\) is a number\): `price > 3`"),
        ("STRING_TO_ARRAY(a, ',')", r"gives List\(String\), but a column is one text or number"),
        ("UPER(a)", "`UPER` is no function that looks at one record alone; did you mean `upper`"),
        ("(SELECT 1)", "`SELECT` looks elsewhere"),
        ("CURRENT_DATE", "`CURRENT_DATE` is not the same tomorrow"),
        ("a.*", "can't stand here"),
    ],
)
def test_a_wrong_expression_is_said_when_the_catalog_is_read(text, said):
    with pytest.raises(ValidationError, match=said):
        Column.model_validate({"sql": text})


def test_where_must_be_true_or_false():
    Table.model_validate({"file": "r.csv", "where": "a = 'x'", "columns": PAIR})
    with pytest.raises(ValidationError, match="must be true or false"):
        Table.model_validate({"file": "r.csv", "where": "CAST(y AS INT)", "columns": PAIR})


@pytest.mark.parametrize("column", [{"sql": "a", "from": "b"}, {"sql": "a", "value": 1}, {}, {"sql": "a", "turn": "x"}])
def test_a_column_comes_from_one_place(column):
    with pytest.raises(ValidationError, match=r"exactly one of|needs `from`"):
        Column.model_validate(column)


GOOD = """{"q": {"a": "x"}, "b": "y", "stars": 5, "lang": "en"}
{"q": {"a": "z"}, "b": "y", "stars": 1, "lang": "de"}
{"q": {"a": "w"}, "b": "y", "stars": "many", "lang": "en"}
{"q": {"a": "v"}, "b": "y", "stars": 2, "lang": "en"}
"""
COLUMNS = {
    "text_a": "q.a",
    "text_b": {"sql": "b || ' ' || $file"},
    "label": {"sql": "CAST(CAST(stars AS DOUBLE) >= 4 AS INT)"},
}


def test_rows_are_left_out_and_counted_and_a_bad_value_costs_its_row(tmp_path: Path, caplog):
    write(tmp_path, "r.jsonl", GOOD + "{oops\n")
    table = {"file": "r.jsonl", "where": "lang = 'en' OR q.a IS NULL", "columns": COLUMNS}
    with caplog.at_level("INFO", "retune"):
        found = run(tmp_path, table, max_rejects=0.5)
    assert found.triples() == [("x", "y r", 1), ("v", "y r", 0)]
    assert [(reject["line"], reject["reason"].partition(" (")[0]) for reject in found.rejects] == [
        (3, '`label` conversion from `str` to `f64` failed: "many"'),
        (5, "broken JSON"),
    ]
    counts = {key: found.summary[key] for key in ("records", "rows", "rejected", "left_out")}
    assert counts == {"records": 5, "rows": 2, "rejected": 2, "left_out": 1}
    assert found.summary["files"]["r.jsonl"]["left_out"] == 1
    assert "r.jsonl: `where` leaves out 1 of 5 records" in caplog.text


def test_what_is_left_out_does_not_thin_the_share_of_rejects(tmp_path):
    write(tmp_path, "r.jsonl", GOOD)
    with pytest.raises(RetuneError, match=r"1 of 3 rows are rejected \(33.33%; max_rejects allows 30.00%\)"):
        run(tmp_path, {"file": "r.jsonl", "where": "lang = 'en'", "columns": COLUMNS}, max_rejects=0.3)


def test_a_where_that_keeps_nothing_is_an_error(tmp_path):
    write(tmp_path, "r.jsonl", GOOD)
    with pytest.raises(RetuneError, match=r"`where` leaves out all 4 records of r.jsonl: `lang = 'fr'`"):
        run(tmp_path, {"file": "r.jsonl", "where": "lang = 'fr'", "columns": COLUMNS})


def test_a_field_of_an_expression_that_is_nowhere_is_an_error(tmp_path):
    write(tmp_path, "r.jsonl", GOOD)
    with pytest.raises(RetuneError, match=r"no record of r.jsonl has the field `langu`; did you mean `lang`"):
        run(tmp_path, {"file": "r.jsonl", "where": "langu = 'en'", "columns": COLUMNS})
    write(tmp_path, "r.csv", "a,b,y\nx,y,1\n")
    with pytest.raises(RetuneError, match=r"r.csv has no field `yy`; do you mean `y`"):
        run(tmp_path, {"file": "r.csv", "where": "yy = '1'"})


def test_a_division_by_zero_is_no_number(tmp_path):
    write(tmp_path, "r.csv", "a,b,y\nx,y,0\nz,y,1\n")
    columns = {"text_a": "a", "text_b": "b", "label": {"sql": "1 / CAST(y AS DOUBLE)"}}
    found = run(tmp_path, {"file": "r.csv", "columns": columns}, max_rejects=0.5)
    assert found.triples() == [("z", "y", 1)]
    assert found.rejects[0]["reason"] == "`label` gives no finite number"


def test_an_empty_field_is_null_and_other_names_stand_in_double_quotes(tmp_path):
    write(tmp_path, "r.csv", "query-id,the text,标签\nx,,1\n")
    columns = {
        "text_a": {"sql": '"query-id"'},
        "text_b": {"sql": "COALESCE(\"the text\", 'y')"},
        "label": {"sql": "标签"},
    }
    assert run(tmp_path, {"file": "r.csv", "columns": columns}).triples() == [("x", "y", 1)]
