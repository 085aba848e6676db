"""Nothing is dropped silently: rejects, duplicates, conflicts, ids."""

from __future__ import annotations

import json
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.errors import RetuneError
from tests.support.converting import PAIR, run, write

GOOD = "".join(f"text {n},other {n},{n % 2}\n" for n in range(96))


def test_every_bad_row_is_listed_with_line_reason_and_text(tmp_path):
    write(
        tmp_path,
        "r.csv",
        'a,b,y\n"two\nlines",ok,1\ntoo,few\nx,y,maybe\n"a"b,c,0\nx,,1\nx,y,2\nm,a,n,y\nx,y,1.5\n' + GOOD,
    )
    found = run(tmp_path, {"file": "r.csv"}, max_rejects=0.08)
    assert [(r["line"], r["reason"], r["row"]) for r in found.rejects] == [
        (4, "2 fields instead of 3", "too,few"),
        (5, '`label` is no whole number: "maybe"', '{"a":"x","b":"y","y":"maybe"}'),
        (6, "broken quotes, ',' expected after '''", '"a"b,c,0'),
        (7, "`text_b` is missing (field `b`)", '{"a":"x","b":"","y":"1"}'),
        (8, '`label` is above 1, the most that is allowed: "2"', '{"a":"x","b":"y","y":"2"}'),
        (9, "4 fields instead of 3", "m,a,n,y"),
        (10, '`label` is no whole number: "1.5"', '{"a":"x","b":"y","y":"1.5"}'),
    ]
    assert {r["file"] for r in found.rejects} == {"r.csv"}
    assert found.summary["reasons"]["`label` is no whole number"] == 2
    assert found.summary["files"]["r.csv"] == {"records": 104, "rows": 97, "rejected": 7, "duplicates": 0}
    assert not (tmp_path / "visible.jsonl").exists()


@pytest.mark.parametrize("between", [", ", ",\n", "\n, "])
@pytest.mark.parametrize("form", ["[{}]", '{{"data": {{"rows": [{}]}}}}'])
def test_a_reject_of_a_list_has_its_line_or_where_records_share_one_its_number(between, form, tmp_path):
    records = [{"a": f"text {n}", "b": f"other {n}", "y": 2 if n in (3, 70) else n % 2} for n in range(1, 101)]
    write(tmp_path, "r.json", form.format(between.join(map(json.dumps, records))))
    found = run(tmp_path, {"file": "r.json", **({"records": "data.rows"} if "data" in form else {})}, max_rejects=0.05)
    assert [reject["line"] for reject in found.rejects] == [3, 70]
    assert [json.loads(reject["row"])["a"] for reject in found.rejects] == ["text 3", "text 70"]


def test_a_reject_of_objects_behind_one_another_in_a_line_has_its_number(tmp_path):
    records = [{"a": f"text {n}", "b": f"other {n}", "y": 2 if n == 5 else n % 2} for n in range(1, 51)]
    write(tmp_path, "r.jsonl", "".join(map(json.dumps, records)))
    (reject,) = run(tmp_path, {"file": "r.jsonl"}, max_rejects=0.05).rejects
    assert reject["line"] == 5


def test_broken_json_unknown_values_and_failed_patterns_are_rejected(tmp_path):
    lines = [
        '{"a": "x", "b": "y", "y": "Yes. Why"}',
        '{"a": "x", "b": "y", "y": "Yes."',
        "[1]",
        '{"a": "x", "b": "y", "y": "Perhaps. \\"so\\""}',
        '{"a": "x", "b": "y", "y": "no"}',
        '{"a": "x", "b": NaN, "y": "Yes."}',
        '{"a": "x", "y": "Yes."}',
    ]
    columns = {**PAIR, "label": {"from": "y", "regex": r"^(\w+)\.", "map": {"Yes": 1, "No": 0}}}
    write(tmp_path, "r.jsonl", "\n".join(lines))
    write(tmp_path, "r.json", "[" + ",\n".join([lines[0], *lines[2:]]) + "]")
    wanted = [
        "broken JSON (Expecting ',' delimiter at character 33)",
        "no JSON object",
        '`label` is not in the value map: "Perhaps"',
        r"`label` does not match /^(\w+)\./: " + '"no"',
        "broken JSON (NaN is no value of JSON)",
        "`text_b` is missing (field `b`)",
    ]
    for name, reasons, first in (("r.jsonl", wanted, 2), ("r.json", wanted[1:], 2)):
        found = run(tmp_path, {"file": name, "columns": columns}, max_rejects=0.9)
        assert [r["reason"] for r in found.rejects] == reasons, name
        assert [r["line"] for r in found.rejects] == list(range(first, first + len(reasons)))
        assert found.rejects[-1]["row"] == lines[-1]
        assert found.triples() == [("x", "y", 1)]


def test_too_many_rejects_stop_with_the_first_reasons(tmp_path):
    write(tmp_path, "r.csv", "a,b,y\n" + "x,y,7\n" * 4 + GOOD)
    with pytest.raises(RetuneError) as caught:
        run(tmp_path, {"file": "r.csv"}, max_rejects=0.03)
    message = str(caught.value)
    assert "4 of 100 rows are rejected (4.00%; max_rejects allows 3.00%)" in message
    assert message.count("\n") == 3
    assert '\n  r.csv:2: `label` is above 1, the most that is allowed: "7"' in message
    listed = (tmp_path / "visible.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["line"] for line in listed] == [2, 3, 4, 5]
    assert not (tmp_path / "out/rows.parquet").exists()


def test_no_row_left_is_an_error_whatever_the_limit(tmp_path):
    write(tmp_path, "r.csv", "a,b,y\nx,y,7\n")
    with pytest.raises(RetuneError, match="all 1 rows are rejected"):
        run(tmp_path, {"file": "r.csv"}, max_rejects=1.0)


def test_duplicates_are_left_out_and_conflicts_kept_and_listed(tmp_path):
    rows = ["x,y,1", "p,q,0", "x,y,1", "y,x,0", "p,q,0", "x,y,0"]
    write(tmp_path, "r.csv", "a,b,y\n" + "\n".join(rows) + "\n")
    write(tmp_path, "t.csv", "a,b,y\nx,y,1\nu,v,1\n")
    found = run(tmp_path, {"file": "r.csv"}, {"file": "t.csv", "split": "test"})
    assert found.triples() == [("x", "y", 1), ("p", "q", 0), ("y", "x", 0), ("x", "y", 0), ("x", "y", 1), ("u", "v", 1)]
    assert found.rows["id"].n_unique() == 6
    assert (found.summary["duplicates"], found.summary["conflicts"], found.summary["rejected"]) == (2, 1, 0)
    (conflict,) = found.conflicts
    assert (conflict["text_a"], conflict["text_b"]) == ("x", "y")
    assert [(row["file"], row["line"], row["label"]) for row in conflict["rows"]] == [
        ("r.csv", 2, 1), ("r.csv", 5, 0), ("r.csv", 7, 0), ("t.csv", 2, 1)
    ]  # fmt: skip


def test_an_official_test_split_keeps_its_duplicates_as_its_published_figures_do(tmp_path):
    write(tmp_path, "r.csv", "a,b,y\nx,y,1\nx,y,1\n")
    write(tmp_path, "t.csv", "a,b,y\nx,y,1\nu,v,1\nx,y,1\nx,y,1\n")
    found = run(tmp_path, {"file": "r.csv"}, {"file": "t.csv", "split": "test"})
    assert found.triples() == [("x", "y", 1), ("x", "y", 1), ("u", "v", 1), ("x", "y", 1), ("x", "y", 1)]
    first, ids = found.rows["id"][1], found.rows["id"].to_list()
    assert ids[3:] == [f"{first}-2", f"{first}-3"]
    assert len(set(ids)) == 5
    assert (found.summary["rows"], found.summary["duplicates"], found.summary["rejected"]) == (5, 1, 0)


def test_a_given_id_twice_in_an_official_test_split_is_one_row_twice(tmp_path):
    write(tmp_path, "t.csv", "id,a,b,y\n7,x,y,1\n8,x,y,1\n7,x,y,1\n")
    found = run(tmp_path, {"file": "t.csv", "split": "test", "columns": {**PAIR, "id": "id"}})
    assert found.rows["id"].to_list() == ["7", "8"]
    assert found.summary["duplicates"] == 1


def test_an_id_that_occurs_twice_is_rejected(tmp_path):
    write(tmp_path, "r.csv", "id,a,b,y\n7,x,y,1\n8,x,z,0\n7,q,r,0\n7,x,y,1\n,s,t,1\n")
    found = run(tmp_path, {"file": "r.csv", "columns": {**PAIR, "id": "id"}}, max_rejects=0.5)
    assert found.rows["id"].to_list() == ["7", "8"]
    assert [(r["line"], r["reason"]) for r in found.rejects] == [
        (4, '`id` occurs in an earlier row: "7"'),
        (6, "`id` is missing (field `id`)"),
    ]
    assert found.summary["duplicates"] == 1


def test_the_default_group_keeps_a_pair_and_its_swap_together(tmp_path):
    write(tmp_path, "r.csv", "a,b,y\n花呗 Ａ,还款,1\n还款,花呗a,0\n")
    assert run(tmp_path, {"file": "r.csv"}).rows["group"].to_list() == ["花呗a", "花呗a"]


pairs = st.lists(
    st.tuples(st.sampled_from("甲乙丙"), st.sampled_from("甲乙丁"), st.sampled_from("01")), min_size=1, max_size=12
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(pairs, pairs, st.randoms(use_true_random=False))
def test_ids_depend_on_neither_order_nor_other_rows(tmp_path_factory, old, new, shuffle: random.Random):
    folder = tmp_path_factory.mktemp("ids")

    def ids(rows):
        write(folder, "r.csv", "a,b,y\n" + "".join(",".join(row) + "\n" for row in rows))
        frame = run(folder, {"file": "r.csv"}).rows
        assert frame["id"].is_unique().all()
        return {row[:3]: row[3] for row in frame.select("text_a", "text_b", "label", "id").iter_rows()}

    before = ids(old)
    mixed = old + new
    shuffle.shuffle(mixed)
    after = ids(mixed)
    assert before.items() <= after.items()
    assert len(after) == len(set(mixed))


def test_converting_twice_gives_the_same_bytes(tmp_path):
    write(tmp_path, "r.csv", "a,b,y\n" + GOOD)
    contents = []
    for _ in range(2):
        run(tmp_path, {"file": "r.csv"})
        contents.append((tmp_path / "out/rows.parquet").read_bytes())
    assert contents[0] == contents[1]
    assert pl.read_parquet(tmp_path / "out/rows.parquet").columns == [
        "id", "group", "split", "text_a", "text_b", "label", "reasoning"
    ]  # fmt: skip
