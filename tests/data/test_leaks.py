"""Texts on both sides of a split: counted, said, taken out of train, or kept together; against plain loops."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data import connected, leaks
from retune.data.kinds import classification, pair
from retune.data.split import assign, official_splits, summary
from retune.params import Params
from tests.support.pair_rows import SPEC, original

LETTERS = st.sampled_from(["A", " a", "b", "c", "Ｄ", "d", "e", "f", "g", "h"])
"""Some of them are the same without case, width and white space."""

PAIRS = st.lists(
    st.tuples(LETTERS, LETTERS, st.sampled_from([None, None, None, "train", "dev", "test"]), st.integers(0, 30)),
    min_size=1,
    max_size=25,
)


def rows_of(pairs: list[tuple]) -> pl.LazyFrame:
    return original(*((f"i{n}", f"g{g}", split, a, b, n % 2) for n, (a, b, split, g) in enumerate(pairs)))


def plain(text: str) -> str:
    return text.strip().lower().replace("ｄ", "d")


def slow_components(pairs: list[tuple]) -> list[set[int]]:
    """Places of the pairs that no official split holds, by growing one component after the other."""
    free = [n for n, (_, _, split, _) in enumerate(pairs) if split in (None, "train")]
    names = {n: {plain(pairs[n][0]), plain(pairs[n][1]), ("group", pairs[n][3])} for n in free}
    found, left = [], set(free)
    while left:
        part = {left.pop()}
        while more := {n for n in left if any(names[n] & names[other] for other in part)}:
            part |= more
            left -= more
        found.append(part)
    return found


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_components_are_those_that_a_slow_search_grows(pairs):
    rows = rows_of(pairs)
    found = connected.components(rows, pair)
    named = dict(connected.regrouped(rows, found).select("id", "group").collect().iter_rows())
    components = slow_components(pairs)
    for part in components:
        assert {named[f"i{n}"] for n in part} == {min(f"g{pairs[n][3]}" for n in part)}
    assert len({named[f"i{n}"] for part in components for n in part}) == len(components)
    free = sum(map(len, components))
    large = [part for part in components if len(part) > connected.LARGE * free]
    assert sorted(found.large) == sorted(min(f"g{pairs[n][3]}" for n in part) for part in large)
    assert found.large_rows == sum(map(len, large))


def divided(rows: pl.LazyFrame, **spec) -> pl.LazyFrame:
    return assign(rows, Params({**SPEC, **spec}), official_splits(rows))


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.integers(0, 5))
def test_connected_rows_that_the_source_did_not_divide_share_no_text_across(pairs, seed):
    rows = rows_of([(a, b, None, g) for a, b, _, g in pairs])
    found = connected.components(rows, pair)
    parts = divided(connected.regrouped(rows, found), seed=seed)
    assert leaks.sharing(parts, pair) == {}


def slow_sharing(pairs: list[tuple], place: dict[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for n, (a, b, *_) in enumerate(pairs):
        here = place[f"i{n}"]
        across = [m for m in range(len(pairs)) if (place[f"i{m}"] == "train") != (here == "train")]
        if any({plain(a), plain(b)} & {plain(pairs[m][0]), plain(pairs[m][1])} for m in across):
            counts[here] = counts.get(here, 0) + 1
    return counts


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.integers(0, 5))
def test_drop_shared_takes_out_exactly_the_training_rows_that_share_a_text(pairs, seed):
    parts = divided(rows_of(pairs), seed=seed)
    place = dict(parts.select("id", "split").collect().iter_rows())
    counts = slow_sharing(pairs, place)
    assert leaks.sharing(parts, pair) == counts
    kept = leaks.without(parts, pair)
    assert leaks.sharing(kept, pair) == {}
    left = dict(kept.select("id", "split").collect().iter_rows())
    gone = place.keys() - left.keys()
    assert len(gone) == counts.get("train", 0)
    assert all(place[name] == "train" for name in gone)


def test_what_was_made_of_a_dropped_row_goes_with_it():
    rows = pl.concat([
        original(("1", "g", None, "a", "b", 1), ("2", "h", None, "c", "d", 0), ("3", "i", "test", "x", "A ", 1)),
        original(("1+delete", "g", None, "aa", "bb", 1), origin="delete"),
        original(("2+delete", "h", None, "cc", "dd", 0), origin="delete"),
    ])  # fmt: skip
    parts = divided(rows, dev=0.0, calibration=0.0)
    assert leaks.without(parts, pair).select("id").collect()["id"].to_list() == ["2", "3", "2+delete"]


def told(rows: pl.LazyFrame, groups: str = "rows", dropped: int = 0, **spec) -> dict:
    merged, official = Params({**SPEC, **spec, "groups": groups}), official_splits(rows)
    return summary(assign(rows, merged, official), 0, merged, official, pair, dropped)


def chained(rows: int, split: str | None = None) -> pl.LazyFrame:
    """Pairs of which each shares a text with four others."""
    return original(*((f"{split}{n}", f"{split}{n}", split, f"q{n // 5}", f"r{n}", n % 2) for n in range(rows)))


def test_the_warning_names_the_rows_and_both_keys():
    counts = told(chained(1000))
    numbers = {name: (counts["sharing"][name], counts["splits"][name]["rows"]) for name in counts["splits"]}
    assert numbers["test"][0] > 0.9 * numbers["test"][1]
    said = leaks.warning(counts)
    assert said.startswith(f"{numbers['test'][0]} of {numbers['test'][1]} test rows, ")
    assert f"{numbers['calibration'][0]} of {numbers['calibration'][1]} calibration rows share a text" in said
    assert "`split.groups: connected`" in said
    assert f"`split.drop_shared: true` takes such rows ({numbers['train'][0]} of {numbers['train'][1]})" in said


def test_connected_groups_cure_no_official_split_so_that_key_is_not_named():
    rows = pl.concat([chained(1000, "train"), chained(100, "test")])
    connected_rows = connected.regrouped(rows, connected.components(rows, pair))
    for counts in (told(connected_rows, "connected"), told(rows, dev=0.0, calibration=0.0)):
        number = counts["sharing"]["test"]
        assert number > 50
        said = leaks.warning(counts)
        assert said.startswith(f"{number} of 100 test rows share a text")
        assert "connected" not in said
        assert "drop_shared" in said


def test_a_leak_of_one_row_in_a_thousand_is_no_warning():
    rows = original(*((f"i{n}", f"g{n}", None, f"a{max(n, 3)}", f"b{n}", n % 2) for n in range(2000)))
    assert leaks.warning(told(rows)) is None


@pytest.mark.parametrize(("kind", "shared"), [(pair, {"train": 1, "test": 1}), (classification, {})])
def test_only_texts_that_give_a_row_away_count(kind, shared):
    rows = pl.LazyFrame({
        "id": ["1", "2"], "split": ["train", "test"], "text_a": ["a", "b"], "text_b": ["b", "c"], "text": ["x", "y"],
    })  # fmt: skip
    assert leaks.sharing(rows, kind) == shared
