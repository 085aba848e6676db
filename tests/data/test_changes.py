"""What a log says of new rows and rejects, against counts of a plain loop."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from retune.data import kinds
from retune.data.changes import LISTED, changes, rejects, sentences
from retune.data.split import SPLITS

Row = tuple[str, str, str]  # text, label, split
ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("01"), st.sampled_from(SPLITS)), max_size=12)


def frames(rows: list[Row], origin: str = "original") -> dict[str, pl.LazyFrame]:
    """The rows by split, as `split` writes them."""
    schema = {"text": pl.String, "label": pl.Enum(["0", "1", "2"]), "origin": pl.String}
    return {
        name: pl.LazyFrame([(t, label, origin) for t, label, split in rows if split == name], schema, orient="row")
        for name in SPLITS
    }


def said(before: list[Row], after: list[Row]) -> list[str]:
    kind = kinds.of("classification")
    return sentences(changes(frames(before), frames(after), kind), kind)


@given(ROWS, ROWS)
def test_rows_are_matched_whole_then_by_text_and_target_then_by_text(before, after):
    found = changes(frames(before), frames(after), kinds.of("classification"))
    old, new, matched = list(before), list(after), []
    for size in (lambda row: row, lambda row: row[:2], lambda row: row[:1]):
        common = Counter(map(size, old)) & Counter(map(size, new))
        matched.append(common.total())
        for rows in (old, new):
            left = Counter(common)
            kept = []
            for split in SPLITS:  # the order of rows decides which one of several equal texts is left over
                for row in [row for row in rows if row[2] == split]:
                    if left[size(row)]:
                        left[size(row)] -= 1
                    else:
                        kept.append(row)
            rows[:] = kept
    assert [found.same, found.moved, found.retargeted] == matched
    for frame, rows in ((found.new, new), (found.gone, old)):
        assert Counter(frame.select("split", "target").rows()) == Counter((row[2], row[1]) for row in rows)


OLD = [("a", "0", "train"), ("b", "1", "train"), ("c", "0", "dev"), ("d", "1", "test")]


def test_new_rows_are_told_by_split_and_label_and_a_new_label_is_named():
    new = [("e", "1", "train"), ("f", "2", "train"), ("g", "2", "train"), ("h", "2", "test")]
    assert said(OLD, OLD + new) == [
        "since the last build: 4 new rows; 4 as before, in the same splits",
        "new rows by label: train 2 2, 1 1; test 2 1",
        "labels that are new: 2",
    ]


def test_gone_relabelled_and_moved_rows_are_told_apart():
    now = [("a", "1", "train"), ("c", "0", "dev"), ("d", "1", "dev"), ("x", "0", "train")]
    assert said(OLD, now) == [
        "since the last build: 1 new row, 1 gone, 1 with another label, 1 moved to another split; "
        "1 as before, in the same splits",
        "new rows by label: train 0 1",
        "gone rows by label: train 1 1",
    ]
    assert said(OLD, [row for row in OLD if row[1] == "0"])[-1] == "labels that are without rows now: 1"


def test_the_same_rows_are_one_line_and_rows_of_another_kind_none():
    assert said(OLD, OLD[::-1]) == ["since the last build: the same 4 rows in the same splits"]
    pairs = {name: pl.LazyFrame({"text_a": ["a"], "text_b": ["b"], "label": [1]}) for name in SPLITS}
    assert changes(pairs, frames(OLD), kinds.of("classification")) is None


def test_altered_rows_and_copies_are_no_new_rows():
    altered = frames([("z", "0", "train")], origin="delete")
    more = {name: pl.concat([frames(OLD)[name], altered[name]]) for name in SPLITS}
    found = changes(frames(OLD), more, kinds.of("classification"))
    assert (found.same, len(found.new)) == (4, 0)


def test_dimensions_of_one_document_are_rows_of_their_own():
    def built(*rows: tuple[str, str, int]) -> dict[str, pl.LazyFrame]:
        schema = {"document": pl.String, "dimension": pl.Enum(["x", "y"]), "score": pl.Int16}
        return {"train": pl.LazyFrame(rows, schema, orient="row").with_columns(origin=pl.lit("original"))}

    kind = kinds.of("scoring")
    found = changes(built(("d", "x", 3), ("d", "y", 3)), built(("d", "x", 3), ("d", "y", 4), ("e", "x", 1)), kind)
    assert (found.same, found.retargeted, found.new.rows()) == (1, 1, [("train", "x:1")])


def test_many_labels_are_cut_and_counted():
    rows = {"train": pl.LazyFrame({"text": [f"t{n}" for n in range(20)], "label": [f"l{n:02}" for n in range(20)]})}
    rows["train"] = rows["train"].with_columns(origin=pl.lit("original"))
    kind = kinds.of("classification")
    line = sentences(changes({"train": rows["train"].head(1)}, rows, kind), kind)[1]
    assert line.count(" 1,") == LISTED
    assert line.endswith(f"l{LISTED:02} 1, and {19 - LISTED} more")


def test_new_rejects_are_shown_wherever_they_stand_now(tmp_path):
    def listed(name: str, *found: tuple[int, str, str]) -> Path:
        rows = [{"file": "rows.csv", "line": line, "reason": reason, "row": row} for line, reason, row in found]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    old = listed("old", (2, "no text", ",1"), (3, "no label", "a,"))
    assert rejects(old, listed("shifted", (4, "no text", ",1"), (9, "no label", "a,"))) == []
    new = [(n, "no label", f"b{n},") for n in range(5, 10)]
    assert rejects(old, listed("new", (2, "no text", ",1"), *new)) == [
        "rejects since the last build: 5 new, 1 gone",
        "  rows.csv:5: no label",
        "  rows.csv:6: no label",
        "  rows.csv:7: no label",
        "  and 2 more",
    ]
    assert rejects(old, listed("none")) == ["rejects since the last build: 0 new, 2 gone"]
