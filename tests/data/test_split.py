"""Splits: by group, with the shares asked for, unmoved by new rows; official ones kept; what they share is counted."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.balance import balanced
from retune.data.kinds import pair
from retune.data.split import SPLITS, assign, check, official_splits, summary
from retune.errors import RetuneError
from retune.params import Params
from tests.support.pair_rows import SPEC, numbered, original


def divided(rows: pl.LazyFrame, **spec) -> pl.DataFrame:
    return assign(rows, Params({**SPEC, **spec}), official_splits(rows)).collect()


def told(rows: pl.LazyFrame, **spec) -> dict:
    merged, official = Params({**SPEC, **spec}), official_splits(rows)
    assigned = assign(rows, merged, official)
    left_out = len(rows.collect()) - len(assigned.collect())
    return summary(assigned, left_out, merged, official, pair)


def places(rows: pl.DataFrame) -> dict[str, str]:
    return dict(rows.select("id", "split").iter_rows())


def test_the_shares_are_those_asked_for():
    counts = told(numbered(range(20_000), groups=20_000))
    assert counts["shares_wanted"] == pytest.approx({"train": 0.5, "dev": 0.1, "calibration": 0.15, "test": 0.25})
    assert counts["shares_got"] == pytest.approx(counts["shares_wanted"], abs=0.015)
    assert sum(entry["rows"] for entry in counts["splits"].values()) == 20_000
    assert counts["splits"]["dev"]["targets"]["1"] == pytest.approx(counts["splits"]["dev"]["rows"] / 3, rel=0.1)


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
        (
            pl.concat([numbered(range(0, 900, 3)), original(("x", "g0", None, "x", "y", 1))]),
            {},
            r"`train` has 1\d\d rows, all with label 0.*a smaller dev",
        ),
        (
            pl.concat([numbered(range(300)), original(("t", "g", "test", "a", "b", 1))]),
            {},
            r"official split `test` has 1 rows, all with label 1: see the source's `tables`",
        ),
    ],
)
def test_a_split_without_rows_or_without_both_labels_is_an_error(rows, spec, message):
    with pytest.raises(RetuneError, match=message):
        check(told(rows, **spec), pair)
    check(told(numbered(range(300))), pair)
    assert tuple(told(numbered(range(300)))["splits"]) == SPLITS


def rows_of_labels(zeros: int, ones: int, altered: int = 0) -> pl.LazyFrame:
    """Training rows of two labels, of which `altered` more of label 1 are altered; and a test row."""
    made = original(*((f"i{n}", f"g{n}", "train", f"a{n}", "b", int(n >= zeros)) for n in range(zeros + ones)))
    more = original(*((f"x{n}+swap", "g", "train", f"c{n}", "d", 1) for n in range(altered)), origin="swap")
    return pl.concat([made, more, original(("t", "t", "test", "a", "b", 1))]).with_columns(
        pl.col("split").cast(pl.String)
    )


def balance(rows: pl.LazyFrame, rule: str | int, seed: int = 0) -> pl.DataFrame:
    return pl.concat(balanced(rows, Params(balance=rule, seed=seed), pair)).collect()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 6), st.sampled_from(["undersample", "oversample", 4]))
def test_train_is_balanced_by_label_and_nothing_else_changes(zeros, ones, altered, rule):
    rows = rows_of_labels(zeros, ones, altered)
    found = balance(rows, rule)
    assert found.filter(split="test").equals(rows.filter(pl.col("split") == "test").collect())
    train = found.filter(split="train")
    sizes = zeros, ones + altered
    wanted = {"undersample": [min(sizes)] * 2, "oversample": [max(sizes)] * 2}.get(rule, [min(4, n) for n in sizes])
    assert [train.filter(label=label).height for label in (0, 1)] == wanted
    assert train["id"].is_unique().all()
    copies = train.filter(origin="copy")
    assert copies.is_empty() or rule == "oversample"
    times = train.with_columns(pl.col("id").str.replace(r"\+copy\d+$", "")).group_by("id", "label").len()
    for label in (0, 1):
        counts = times.filter(label=label)["len"]
        assert counts.max() - counts.min() <= (rule == "oversample")
    kept = train.filter(label=1, origin="original").height
    assert kept >= min(ones, wanted[1]), "altered rows go first"


def test_another_seed_leaves_out_other_rows():
    rows = rows_of_labels(100, 10)
    first, again, other = (set(balance(rows, "undersample", seed)["id"]) for seed in (0, 0, 1))
    assert first == again != other


def test_rows_too_few_to_be_dealt_by_a_hash_are_told_how_many_it_takes():
    entry = r"`\w+` has (no rows|\d rows, all with label \d) \(a share of 0\.\d+ of 10 groups\)"
    with pytest.raises(RetuneError) as caught:
        check(told(numbered(range(10))), pair)
    start, remedy = str(caught.value).split(": ")
    assert re.fullmatch(rf"the split {entry}(; {entry})+", start), start
    assert remedy == (
        "rows are dealt by a hash, which needs some 100 groups for such shares; give the task more data, or name each "
        "row's split yourself (`split` of a table, or `columns.split`, in data/catalog.yaml)"
    )


def test_a_source_of_one_label_is_told_that_no_other_share_can_help():
    rows = original(*((f"i{n}", f"g{n}", None, f"a{n}", f"b{n}", 1) for n in range(300)))
    tests = original(*((f"t{n}", f"t{n}", "test", f"x{n}", f"y{n}", n % 2) for n in range(10)))
    with pytest.raises(RetuneError) as caught:
        check(told(pl.concat([rows, tests])), pair)
    assert str(caught.value) == (
        "the 300 rows that are divided are all with label 1, so no share and no seed can help: the source needs rows "
        "with another label (if it has some, see `columns.label` and its `map` in data/catalog.yaml)"
    )


def test_a_train_that_drop_shared_has_emptied_is_told_of_that_key():
    rows, spec = numbered(range(300)), Params({**SPEC, "drop_shared": True})
    parts = assign(rows, spec, set()).filter(pl.col("split") != "train")
    with pytest.raises(RetuneError, match=r"`train` has no rows .*, `split.groups: connected` instead of "
                       r"`split.drop_shared` \(which took 150 rows out of train\), or"):  # fmt: skip
        check(summary(parts, 0, spec, set(), pair, dropped=150), pair)


def test_all_short_splits_are_named_at_once():
    with pytest.raises(RetuneError, match=r"`dev` has no rows \(.*\); `calibration` has no rows \(.*\): "):
        check(told(numbered(range(300)), dev=0.0, calibration=0.0), pair)
