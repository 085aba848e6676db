"""Part of the training data: whole groups, nested, and nothing else changes; the kind scoring in splits."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest

from retune.data.kinds import pair, scoring
from retune.data.split import SPLITS, assign, check, official_splits, reduced, summary
from retune.errors import RetuneError
from retune.params import Params
from tests.support.pair_rows import SPEC, numbered

RATIOS = (0.05, 0.2, 0.5, 0.9, 1.0)


def parts(ratio: float, groups: int = 2000, **spec) -> pl.DataFrame:
    rows = numbered(range(6000), groups=groups)
    merged = Params({**SPEC, **spec, "data_ratio": ratio})
    return reduced(assign(rows, merged, official_splits(rows)), merged).collect()


def ids(rows: pl.DataFrame, split: str) -> set[str]:
    return set(rows.filter(split=split)["id"])


def test_a_smaller_share_is_a_part_of_a_larger_one_and_other_splits_stay():
    found = [parts(ratio) for ratio in RATIOS]
    trains = [ids(rows, "train") for rows in found]
    assert all(small < large for small, large in pairwise(trains))
    for name in SPLITS[1:]:
        assert len({frozenset(ids(rows, name)) for rows in found}) == 1


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_share_is_of_whole_groups(ratio):
    whole = parts(1.0).filter(split="train")
    kept = parts(ratio).filter(split="train")
    assert kept["group"].n_unique() == pytest.approx(ratio * whole["group"].n_unique(), abs=60)
    of_group = whole.group_by("group").len("all").join(kept.group_by("group").len("some"), on="group")
    assert of_group["all"].equals(of_group["some"])


def test_the_choice_depends_on_the_seed_and_not_on_the_split():
    assert ids(parts(0.5), "train") != ids(parts(0.5, seed=1), "train")
    more = ids(parts(0.5, dev=0.01), "train")
    assert ids(parts(0.5), "train") < more


def test_official_training_rows_are_reduced_and_the_summary_says_so():
    rows = numbered(range(4000), groups=4000, split="train")
    spec = Params({**SPEC, "data_ratio": 0.25})
    left = reduced(assign(rows, spec, set()), spec)
    told = summary(left, 0, spec, set(), pair)
    assert told["data_ratio"] == 0.25
    assert told["shares_wanted"]["train"] == pytest.approx(0.125 / 0.625)
    assert told["shares_got"] == pytest.approx(told["shares_wanted"], abs=0.03)


def test_a_share_that_leaves_no_group_is_an_error():
    rows = numbered(range(40), groups=8)
    spec = Params({**SPEC, "dev": 0.3, "data_ratio": 1e-9})
    told = summary(reduced(assign(rows, spec, set()), spec), 0, spec, set(), pair)
    with pytest.raises(RetuneError, match=r"the split `train` has no rows .* a larger `data_ratio`"):
        check(told, pair)


def test_dimensions_are_no_texts_that_splits_share():
    rows = pl.LazyFrame(
        {
            "id": [f"i{n}" for n in range(400)],
            "group": [f"g{n // 2}" for n in range(400)],
            "split": [None] * 400,
            "document": [f"公司{n // 2}" for n in range(400)],
            "dimension": pl.Series(["a", "b"] * 200, dtype=pl.Enum(["a", "b"])),
            "score": [1 + n % 5 for n in range(400)],
            "origin": ["original"] * 400,
        },
        schema_overrides={"split": pl.String},
    )
    told = summary(assign(rows, Params(SPEC), set()), 0, Params(SPEC), set(), scoring)
    assert set(told["shared_texts"].values()) == {0}
    assert set(told["splits"]["train"]["targets"]) == {f"{name}:{score}" for name in "ab" for score in range(1, 6)}
    assert told["splits"]["train"]["rows"] == 2 * told["splits"]["train"]["groups"]
    check(told, scoring)
