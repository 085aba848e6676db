"""Which rows a model has learned from, and what became of them."""

from __future__ import annotations

import polars as pl

from retune.data import learned
from retune.data.kinds import classification, scoring
from retune.data.learned import Changes


def rows(*table: tuple[str, str], origin: str = "original") -> pl.DataFrame:
    frame = pl.DataFrame(table, schema=["text", "label"], orient="row")
    return frame.with_columns(id=pl.int_range(pl.len()), origin=pl.lit(origin))


THEN = learned.of(rows(("a", "x"), ("b", "x"), ("c", "y")), classification)


def test_rows_are_the_same_in_any_order_and_copies_count_once():
    again = learned.of(rows(("c", "y"), ("b", "x"), ("a", "x"), ("a", "x")), classification)
    assert again.equals(THEN)


def test_rows_are_kept_added_changed_or_gone():
    now = learned.of(rows(("a", "x"), ("b", "y"), ("d", "x"), ("e", "z")), classification)
    assert learned.changes(THEN, now) == Changes(then=3, kept=1, added=3, changed=1, gone=1)
    assert learned.changes(THEN, THEN) == Changes(3, 3, 0, 0, 0)


def test_altered_rows_are_none_of_their_own():
    more = pl.concat([rows(("a", "x"), ("b", "x"), ("c", "y")), rows(("aa", "x"), origin="swap")])
    assert learned.of(more, classification).equals(THEN)


def test_another_reasoning_is_another_answer_and_none_is_no_text():
    def scored(reasoning: str | None) -> pl.DataFrame:
        row = {
            "document": "d",
            "dimension": "n",
            "score": 3,
            "reasoning": reasoning,
            "reason": "",
            "origin": "original",
        }
        return learned.of(pl.DataFrame([row], schema_overrides={"reasoning": pl.String}), scoring)

    assert learned.changes(scored("so"), scored("thus")) == Changes(1, 0, 1, 1, 0)
    assert not scored(None).equals(scored(""))


def test_they_are_read_as_they_were_written_and_only_where_they_were(tmp_path):
    assert learned.read(tmp_path) is None
    learned.write(THEN, tmp_path)
    found = learned.read(tmp_path)
    assert found is not None
    assert found.equals(THEN)
