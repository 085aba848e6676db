"""Splits: by group, with the shares asked for, unmoved by new rows; official ones kept; what they share is counted."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.errors import RetuneError
from retune.params import Params
from retune.split import SPLITS, assign, check, official_splits, summary
from retune.tasks import pair
from tests.test_augment import frame

SPEC = Params({"dev": 0.1, "calibration": 0.15, "test": 0.25, "seed": 0})


def original(*rows: tuple, origin: str = "original") -> pl.LazyFrame:
    return frame(*rows).with_columns(pl.lit(origin).alias("origin"))


def numbered(numbers, groups: int = 500, split=None) -> pl.LazyFrame:
    return original(*((f"i{n}", f"g{n % groups}", split, f"a{n}", f"b{n}", n % 3 % 2) for n in numbers))


def divided(rows: pl.LazyFrame, **spec) -> pl.DataFrame:
    return assign(rows, Params({**SPEC, **spec}), official_splits(rows)).collect()


def told(rows: pl.LazyFrame, **spec) -> dict:
    merged, official = Params({**SPEC, **spec}), official_splits(rows)
    return summary(assign(rows, merged, official), rows, merged, official, pair)


def places(rows: pl.DataFrame) -> dict[str, str]:
    return dict(rows.select("id", "split").iter_rows())


def test_the_shares_are_those_asked_for():
    counts = told(numbered(range(20_000), groups=20_000))
    assert counts["shares_wanted"] == pytest.approx({"train": 0.5, "dev": 0.1, "calibration": 0.15, "test": 0.25})
    assert counts["shares_got"] == pytest.approx(counts["shares_wanted"], abs=0.015)
    assert sum(entry["rows"] for entry in counts["splits"].values()) == 20_000
    assert counts["splits"]["dev"]["positives"] == pytest.approx(counts["splits"]["dev"]["rows"] / 3, rel=0.1)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 400)), st.sets(st.integers(0, 400)), st.integers(0, 9))
def test_appending_rows_moves_no_old_row_and_divides_no_group(old, new, seed):
    before = places(divided(numbered(sorted(old), groups=40), seed=seed))
    rows = divided(pl.concat([numbered(sorted(new - old), groups=40), numbered(sorted(old), groups=40)]), seed=seed)
    assert before.items() <= places(rows).items()
    assert rows.height == len(old | new)
    assert all(rows.group_by("group").agg(pl.col("split").n_unique())["split"] == 1)


def test_a_place_is_the_same_in_every_version():
    found = places(divided(numbered(range(8))))
    assert " ".join(found[f"i{n}"] for n in range(8)) == "calibration train train dev dev test test train"


def test_a_larger_dev_takes_rows_from_train_only():
    small, large = (places(divided(numbered(range(1000)), dev=dev)) for dev in (0.1, 0.3))
    moved = {(small[key], large[key]) for key in small if small[key] != large[key]}
    assert moved == {("train", "dev")}


def test_another_seed_divides_otherwise():
    assert places(divided(numbered(range(100)))) != places(divided(numbered(range(100)), seed=1))


def test_official_splits_stay_and_their_share_goes_to_train():
    fixed = original(*((f"t{n}", f"g{n}", "test", f"x{n}", f"y{n}", n % 2) for n in range(100)))
    rows = pl.concat([numbered(range(2000)), fixed])
    found = places(divided(rows))
    assert {key for key, split in found.items() if split == "test"} == {f"t{n}" for n in range(100)}
    alone = places(divided(numbered(range(2000)), test=0.0))
    assert {key: split for key, split in found.items() if key.startswith("i")} == alone
    counts = told(rows)
    assert counts["official"] == ["test"]
    assert counts["shares_wanted"] == pytest.approx({"train": 0.75, "dev": 0.1, "calibration": 0.15})
    assert sum(counts["shares_got"].values()) == pytest.approx(1)


def test_an_official_train_split_is_divided_like_rows_without_one():
    assert places(divided(numbered(range(500), split="train"))) == places(divided(numbered(range(500))))


def test_augmented_rows_live_in_train_only_and_the_others_are_counted():
    rows = numbered(range(300))
    copies = rows.with_columns(pl.col("id") + "+swap", pl.lit("swap").alias("origin"))
    both = pl.concat([rows, copies])
    found = divided(both)
    altered = found.filter(pl.col("origin") == "swap")
    assert set(altered["split"]) == {"train"}
    assert (
        altered["id"].str.strip_suffix("+swap").to_list()
        == found.filter((pl.col("split") == "train") & (pl.col("origin") == "original"))["id"].to_list()
    )
    counts = told(both)
    assert counts["augmented_left_out"] == 300 - altered.height
    assert counts["splits"]["train"]["augmented"] == altered.height
    assert counts["shares_got"] == told(rows)["shares_got"]


def test_what_splits_share_is_counted():
    rows = pl.concat([
        original(("1", "g", "test", "a", "b", 1), ("2", "h", "test", "c", "d", 0)),
        original(("3", "g", None, "b", "a", 1), ("4", "g", None, "a", "z", 0), ("5", "i", None, "c", "q", 0)),
    ])  # fmt: skip
    counts = told(rows, dev=0.0, calibration=0.0)
    assert counts["shared_pairs"]["train, test"] == 1
    assert counts["shared_texts"]["train, test"] == 3
    assert counts["shared_groups"]["train, test"] == 1
    assert counts["shared_texts"]["train, dev"] == 0


@pytest.mark.parametrize(
    ("rows", "spec", "message"),
    [
        (
            numbered(range(300)),
            {"dev": 0.0},
            r"`dev` has no rows \(a share of 0 of \d+ groups\).*a larger `split\.dev`",
        ),
        (numbered(range(0, 900, 3)), {}, r"`train` has 1\d\d rows, all with label 0.*a smaller dev"),
        (
            pl.concat([numbered(range(300)), original(("t", "g", "test", "a", "b", 1))]),
            {},
            r"official split `test` has 1 rows, all with label 1: see the source's `tables`",
        ),
    ],
)
def test_a_split_without_rows_or_without_both_labels_is_an_error(rows, spec, message):
    with pytest.raises(RetuneError, match=message):
        check(told(rows, **spec))
    check(told(numbered(range(300))))
    assert tuple(told(numbered(range(300)))["splits"]) == SPLITS
