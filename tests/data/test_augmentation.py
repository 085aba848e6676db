"""Altered rows: which rows get one, what they look like, and that none crosses into another split."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.augmentation import homophones, synonyms
from retune.data.augmentation.methods import METHODS, augment, clashing, delete, exchange, homophone, insert, synonym
from retune.data.kinds import classification, pair
from retune.data.split import assign, official_splits
from retune.params import Params
from tests.support.pair_rows import SCHEMA, frame

pytestmark = pytest.mark.slow

OFF = {
    "swap": {},
    "synonym": {},
    "insert": {},
    "homophone": {},
    "delete": {},
    "exchange": {},
    "transitive": 0.0,
    "strength": 0.1,
    "seed": 0,
}


def many(count: int, start: int = 0) -> pl.LazyFrame:
    return frame(
        *((f"id{n}", f"g{n % 70}", None, f"text {n} 花呗", f"other {n}", n % 2) for n in range(start, start + count))
    )


def altered(rows: pl.LazyFrame, **spec) -> pl.DataFrame:
    every = pl.concat(augment(rows, Params({**OFF, **spec}), pair)).collect()
    originals = every.filter(pl.col("origin") == "original").drop("origin")
    assert originals.equals(rows.collect()), "the rows themselves come first and stay"
    return every.filter(pl.col("origin") != "original")


def test_nothing_is_added_by_default():
    assert altered(many(20)).is_empty()


def test_a_swap_exchanges_the_texts_and_keeps_group_label_and_split():
    rows = frame(("i", "g", "train", "甲", "乙", 1), ("j", "g", None, "同", "同", 1), ("k", "g", None, "丙", "丁", 0))
    assert altered(rows, swap={"1": 1.0}).rows() == [("i+swap", "g", "train", "乙", "甲", 1, None, "swap")]


def test_shares_are_per_label():
    found = altered(many(2000), swap={"1": 0.3}, delete={"0": 0.1, "1": 0.0})
    counts = {(method, label): count for method, label, count in found.group_by("origin", "label").len().iter_rows()}
    assert counts.keys() == {("swap", 1), ("delete", 0)}
    assert 250 < counts["swap", 1] < 350
    assert 70 < counts["delete", 0] < 130


def test_official_splits_other_than_train_are_never_augmented():
    rows = [
        (f"i{n}", "g", split, f"甲{n}", f"乙{n}", 1)
        for n, split in enumerate(["train", "dev", "calibration", "test", None])
    ]
    shares = {"1": 1.0}
    found = altered(frame(*rows), swap=shares, delete=shares, exchange=shares, transitive=1.0)
    assert set(found["id"].str.extract(r"^(\w+)\+")) == {"i0", "i4"}


def test_an_alteration_that_changes_nothing_is_skipped():
    rows = frame(("i", "g", None, "一", "二", 1), ("j", "g", None, "呵呵呵", "哈", 1))
    assert altered(rows, delete={"1": 1.0})["id"].to_list() == ["j+delete"]
    assert altered(rows, exchange={"1": 1.0}).is_empty()
    assert altered(many(50), delete={"0": 1.0, "1": 1.0}, exchange={"0": 1.0, "1": 1.0}, strength=0.0).is_empty()


def test_a_label_carries_over_two_pairs_of_one_group():
    rows = frame(
        ("1", "g", None, "a", "b", 1), ("2", "g", None, "c", "b", 1), ("3", "g", None, "d", "a", 1),
        ("4", "g", "test", "d", "b", 0), ("5", "g", None, "b", "e", 0), ("6", "h", None, "b", "z", 1),
        ("7", "g", "test", "b", "y", 1),
    )  # fmt: skip
    found = altered(rows, transitive=1.0)
    # a~b~c and d~a~b; but d, b is a row of test already, and other groups, labels and splits don't count.
    assert found.select("group", "text_a", "text_b", "label", "origin").rows() == [("g", "a", "c", 1, "transitive")]
    assert found["id"].str.ends_with("+transitive").all()


def test_more_than_one_path_gives_one_row():
    rows = frame(*((str(n), "g", None, "a" if n % 2 else "c", f"b{n // 2}", 1) for n in range(8)))
    found = altered(rows, transitive=1.0)
    assert found.filter((pl.col("text_a") == "a") & (pl.col("text_b") == "c")).height == 1
    assert found["id"].is_unique().all()


@given(st.text(min_size=1, max_size=40), st.floats(0, 1), st.integers(0, 5))
def test_delete_and_exchange_touch_the_share_they_say(text, strength, key):
    count = max(1, round(len(text) * strength)) if strength else 0
    shorter = delete(text, strength, key)
    assert len(shorter) == max(len(text) - count, 1)
    characters = iter(text)
    assert all(character in characters for character in shorter), "the order of what is left stays"
    mixed = exchange(text, strength, key)
    assert sorted(mixed) == sorted(text)
    assert (mixed == text) or count
    assert (shorter, mixed) == (delete(text, strength, key), exchange(text, strength, key))


ALL = {"swap": {"0": 0.4, "1": 0.7}, "delete": {"0": 0.5}, "exchange": {"1": 0.5}, "strength": 0.2}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 3))
def test_appended_rows_change_no_old_choice(old, new, seed):
    spec = {**ALL, "seed": seed}
    before = altered(many(old), **spec)
    after = altered(pl.concat([many(new, start=old), many(old)]), **spec)
    ids = [f"id{n}" for n in range(old)]
    kept = after.filter(pl.col("id").str.extract(r"^(\w+)\+").is_in(ids))
    assert kept.sort("id").equals(before.sort("id"))


rows_of_three = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from("uvwabc"),
        st.integers(0, 1),
        st.sampled_from([None, "train", "test"]),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(rows_of_three, st.integers(0, 20))
def test_no_altered_row_leaves_the_split_of_its_group(rows, seed):
    texts = {(a, b, split): (label, split) for a, b, label, split in rows}
    numbered = [
        (str(n), min(a, b), split, a, b, label)
        for n, ((a, b, _), (label, split)) in enumerate(sorted(texts.items(), key=str))
    ]
    every = {"0": 1.0, "1": 1.0}
    spec = Params({**OFF, "swap": every, "delete": every, "exchange": every, "transitive": 1.0})
    data = pl.concat(augment(frame(*numbered), spec, pair))
    shares = Params({"dev": 0.2, "calibration": 0.2, "test": 0.3, "seed": seed})
    official = official_splits(data)
    found = assign(data, shares, official).collect()
    assert found.filter((pl.col("origin") != "original") & (pl.col("split") != "train")).is_empty()
    fixed = {row[0] for row in numbered if row[2] == "test"}
    ours = found.filter(~pl.col("id").is_in(list(fixed)))
    assert ours.group_by("group").agg(pl.col("split").n_unique())["split"].max() in (None, 1)
    # Pairs that only altered rows make are in no other split, official ones included.
    held = {frozenset(row) for row in found.filter(pl.col("split") != "train").select("text_a", "text_b").iter_rows()}
    carried = found.filter(pl.col("origin") == "transitive").select("text_a", "text_b")
    assert not held & {frozenset(row) for row in carried.iter_rows()}


chinese = st.text("怎么提前还款查询话费流量余额宝花呗如何办理开通 a1？", min_size=1, max_size=30)


@settings(deadline=None)
@given(chinese, st.floats(0, 1), st.integers(0, 3))
def test_no_method_empties_a_text_or_touches_what_parts_a_dialogue(text, strength, key):
    dialogue = f"{text}[SEP]{text}"
    for alter in METHODS.values():
        assert alter(text, strength, key).strip() or not text.strip()
        assert alter(dialogue, strength, key).count("[SEP]") == 1
        assert alter(dialogue, strength, key) == alter(dialogue, strength, key)
        assert alter(dialogue, 0.0, key) == dialogue


def test_synonyms_stand_for_whole_words_only():
    for key in range(30):
        assert synonym("怎么提前还款", 1.0, key) in {
            f"{a}{b}" for a in ("怎样", "如何", "咋") for b in ("提早还款", "提前还钱", "提前还清")
        }
        assert synonym("余额宝转出", 1.0, key) == "余额宝转出", "a name stays, though it holds a word of a group"
    assert len({synonym("怎么提前还款", 1.0, key) for key in range(30)}) > 4


def test_a_synonym_is_inserted_beside_words_and_never_into_one():
    found = {insert("取消宽带", 0.1, key) for key in range(60)}
    others = [other for word in ("取消", "宽带") for other in synonyms.others()[word]]
    allowed = {t for o in others for t in (f"{o}取消宽带", f"取消{o}宽带", f"取消宽带{o}")}
    assert found <= allowed
    assert len(found) > 8


def test_homophones_sound_the_same_and_are_common():
    from pypinyin import Style, lazy_pinyin

    def sound(text: str) -> list[str]:
        return lazy_pinyin(text, style=Style.TONE3)

    assert len(homophones.common()) == 3755
    for key in range(20):
        text = "查询流量"
        changed = homophone(text, 0.25, key)
        assert sum(a != b for a, b in zip(text, changed, strict=True)) == 1
        assert [sound(c) for c in changed] == [sound(c) for c in text]
        assert set(changed) <= set(homophones.common())


def test_a_word_of_the_lexicon_stands_once():
    lines = [line.split() for line in synonyms.FILE.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    words = [word for line in lines for word in line]
    assert len(words) == len(set(words)) == len(synonyms.others())
    assert len(lines) > 300


def utterances(*rows: tuple) -> pl.LazyFrame:
    schema = {name: SCHEMA.get(name, pl.String) for name in ("id", "group", "split", "text", "label")}
    return pl.LazyFrame(rows, schema=schema | {"label": pl.String}, orient="row")


def test_a_number_is_the_share_of_every_label():
    rows = utterances(*((f"i{n}", f"g{n}", None, f"怎么查询话费{n}", "甲" if n % 5 else "乙") for n in range(600)))
    both = pl.concat(augment(rows, Params({**OFF, "synonym": 0.5}), classification)).collect()
    one = pl.concat(augment(rows, Params({**OFF, "synonym": {"甲": 0.5}}), classification)).collect()
    new = both.filter(origin="synonym")
    assert 250 < new.height < 350
    assert set(new["label"]) == {"甲", "乙"}
    assert new.filter(label="甲").equals(one.filter(origin="synonym"))


def test_an_altered_row_that_says_what_another_says_clashes():
    rows = frame(
        ("i", "g", None, "甲", "乙", 1), ("j", "h", None, "丙", "丁", 0), ("k", "h", None, "乙 ", "甲", 0),
        ("i+swap", "g", None, "乙", "甲", 1),  # what k says, but for white space
        ("j+swap", "h", None, "丁", "丙", 0),  # only its own source turned round
        ("i+delete", "g", None, "戊", "己", 1), ("j+delete", "h", None, "己", "戊", 0),  # two targets
        ("i+exchange", "g", None, "庚", "辛", 1), ("j+exchange", "h", None, "庚", "辛", 1),  # one target
    )  # fmt: skip
    methods = pl.col("id").str.extract(r"\+(\w+)$").fill_null("original")
    assert clashing(rows.with_columns(origin=methods), pair).to_list() == ["i+delete", "i+swap", "j+delete"]
