"""Labels that people corrected in Label Studio come back into the rows, and nothing else changes."""

from __future__ import annotations

import json

import polars as pl
import pytest

from retune.data.convert import convert
from retune.data.convert.corrections import words
from retune.doubts import label_studio
from retune.errors import RetuneError
from retune.params import loads
from tests.support.converting import write

ROWS = "".join(f'{{"n": "r{n}", "t": "文{n}", "y": "{"甲乙"[n % 2]}"}}\n' for n in range(6))


def run(folder, *, columns=None, labels=("甲", "乙"), kind="classification", file="review.json", rows=ROWS):
    write(folder, "rows.jsonl", rows)
    table = {"file": "rows.jsonl", "columns": columns or {"id": "n", "text": "t", "label": "y"}}
    spec = {"kind": kind, "labels": labels, "source": "s", "tables": [table], "max_rejects": 0.0, "corrections": file}
    (folder / "out").mkdir(exist_ok=True)
    counts = convert(loads(json.dumps(spec)), folder / "raw", folder / "out", folder / "scratch", folder / "visible")
    return pl.read_parquet(folder / "out/rows.parquet"), counts["corrections"]


def exported(number: int, *choices: str, cancelled: bool = False, row: str | None = None) -> dict:
    """A task as Label Studio exports it, with an annotation for each choice."""
    (task,) = label_studio.tasks(
        [{"id": row or f"r{number}", "text": "文", "label": "甲", "likeliest": "乙", "surety": 0.1}], ("text",)
    )
    (result,) = task["predictions"][0]["result"]
    return {
        "id": 100 + number,
        **task,
        "annotations": [
            {"was_cancelled": cancelled, "result": [{**result, "value": {"choices": [choice]}}]} for choice in choices
        ],
    }


def test_agreed_labels_replace_those_of_the_rows_and_all_else_is_counted(tmp_path):
    review = [
        exported(0, "乙"),  # was 甲
        exported(1, "乙", "乙"),  # two reviewers, as it was
        exported(2),  # not reviewed
        exported(3, "甲", cancelled=True),
        exported(4, "甲", "乙"),  # they disagree
        exported(9, "甲"),  # no such row
    ]
    write(tmp_path, "review.json", json.dumps(review, ensure_ascii=False))
    rows, counts = run(tmp_path)
    assert rows["label"].to_list() == ["乙", "乙", "甲", "乙", "甲", "乙"]
    assert rows["id"].to_list() == [f"r{n}" for n in range(6)]
    assert counts == {"changed": 1, "confirmed": 1, "open": 2, "disputed": 1, "absent": 1}
    assert words(counts).startswith("corrections: 1 labels changed, 1 confirmed, 2 not reviewed, 1 on which")


@pytest.mark.parametrize("form", ["csv", "min"])
def test_csv_and_json_min_say_the_same(tmp_path, form):
    table = [("r0", "乙"), ("r1", "乙"), ("r2", "")]
    if form == "csv":
        lines = "".join(f"{7 + n},{row},文,{choice}\r\n" for n, (row, choice) in enumerate(table))
        write(tmp_path, "review.csv", "\ufeffid,row_id,text,corrected\r\n" + lines)
    else:
        entries = [{"id": 7, "row_id": row, **({"corrected": choice} if choice else {})} for row, choice in table]
        write(tmp_path, "review.json", json.dumps(entries, ensure_ascii=False))
    rows, counts = run(tmp_path, file="review.csv" if form == "csv" else "review.json")
    assert rows["label"][0] == "乙"
    assert counts == {"changed": 1, "confirmed": 1, "open": 1, "disputed": 0, "absent": 0}


def test_rows_without_an_id_of_their_own_keep_the_one_that_was_reviewed(tmp_path):
    columns = {"text": "t", "label": "y"}
    write(tmp_path, "review.json", "[]")
    before, _ = run(tmp_path, columns=columns)
    write(tmp_path, "review.json", json.dumps([exported(0, "乙", row=before["id"][0])], ensure_ascii=False))
    after, counts = run(tmp_path, columns=columns)
    assert after["id"].to_list() == before["id"].to_list()
    assert (after["label"][0], counts["changed"]) == ("乙", 1)


def test_a_pair_s_label_is_a_number_again(tmp_path):
    write(tmp_path, "review.json", json.dumps([exported(0, "1", row="r0")]))
    rows, counts = run(
        tmp_path,
        kind="pair",
        labels=("0", "1"),
        columns={"id": "n", "text_a": "a", "text_b": "b", "label": "y"},
        rows='{"n": "r0", "a": "x", "b": "y", "y": 0}\n{"n": "r1", "a": "x", "b": "z", "y": 0}\n',
    )
    assert (rows["label"].to_list(), rows["label"].dtype, counts["changed"]) == ([1, 0], pl.Int8, 1)


def test_a_corrected_label_is_what_conflicts_are_looked_for_with(tmp_path):
    rows = '{"n": "r0", "t": "文", "y": "甲"}\n{"n": "r1", "t": "文", "y": "乙"}\n'
    write(tmp_path, "review.json", json.dumps([exported(0, "乙")], ensure_ascii=False))
    run(tmp_path, rows=rows)
    assert (tmp_path / "out/conflicts.jsonl").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize(
    ("review", "said"),
    [
        ([exported(0, "丙")], r"there is no label `丙` of the task \(row `r0`\) .*choose another one in Label Studio"),
        ([{"id": 1, "text": "x"}], "entry 1 has no `row_id`: corrections are an export"),
        ({"tasks": []}, "corrections are a list of tasks"),
        ([{"row_id": "r0", "corrected": ["甲", "乙"]}], "a row has one label"),
    ],
)
def test_what_is_no_review_of_these_rows_is_told(tmp_path, review, said):
    write(tmp_path, "review.json", json.dumps(review, ensure_ascii=False))
    with pytest.raises(RetuneError, match=said):
        run(tmp_path)
    write(tmp_path, "review.json", "[{")
    with pytest.raises(RetuneError, match="broken JSON"):
        run(tmp_path)


def test_reasoning_for_the_old_label_is_no_reasoning_for_the_new_one(tmp_path):
    write(tmp_path, "review.json", json.dumps([exported(0, "1", row="r0")]))
    columns = {"id": "n", "text_a": "a", "text_b": "b", "label": "y", "reasoning": "why"}
    rows = '{"n": "r0", "a": "x", "b": "y", "y": 0, "why": "they differ"}\n'
    with pytest.raises(RetuneError, match="changes the label of 1 rows whose reasoning speaks for the old one"):
        run(tmp_path, kind="pair", labels=("0", "1"), columns=columns, rows=rows)
