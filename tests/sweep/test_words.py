"""The table and the page of a sweep."""

from __future__ import annotations

from pathlib import Path

from retune.sweep import sampler, words
from retune.sweep.record import Trial
from retune.sweep.search import Sweep
from retune.sweep.space import parse

SPACE = parse(["linear.c=1,2,4", "linear.analyzer=char,<b>"])
TRIALS = [
    Trial(1, {"linear.c": 1, "linear.analyzer": "char"}, "done", 0.9, 2, 1.0),
    Trial(2, {"linear.c": 2, "linear.analyzer": "<b>"}, "done", 0.3, 1, 1.0),
    Trial(3, {"linear.c": 4, "linear.analyzer": "char"}, "failed", said="no <i>memory</i>"),
]


def test_the_best_is_the_least_of_a_loss_and_the_most_of_another_metric():
    assert [one.number for one in Sweep("s", "m", "loss", SPACE, TRIALS, {}).done] == [2, 1]
    assert [one.number for one in Sweep("s", "m", "f1", SPACE, TRIALS, {}).done] == [1, 2]


def test_the_table_says_what_the_best_is_worth_and_how_to_build_it():
    said = words.table(Sweep("s", "m", "f1", SPACE, TRIALS, {}))
    assert "best of 2 on the same dev rows" in said
    assert "no <i>memory</i>" in said
    build = "build it: dvc exp run --temp -n s-best -S ++models.m.linear.c=1 -S ++models.m.linear.analyzer=char"
    assert f"{build} evaluate@m" in said


def test_how_many_lie_within_the_best_ones_error_over_folds():
    values = {1: 0.90, 2: 0.89, 3: 0.86, 4: 0.70}
    trials = [Trial(n, {}, "done", value, error=0.02) for n, value in values.items()]
    assert "1 of the others are within its ±" in words.worth(Sweep("s", "m", "f1", SPACE, trials, {}, folds=5))


def test_texts_of_the_space_and_of_errors_are_escaped_on_the_page(tmp_path: Path):
    page = words.page(Sweep("s", "m", "f1", SPACE, TRIALS, {}), tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<i>memory" not in page
    assert "<b>" not in page
    assert page.count("<polyline") == 2
    assert "<script" not in page


def test_a_grid_tries_each_combination_once_in_order():
    trials: list[Trial] = []
    while values := sampler.propose(SPACE, trials, "grid", 0, 6, False):
        trials.append(Trial(len(trials) + 1, values))
    assert [tuple(one.values.values()) for one in trials] == [(c, a) for c in (1, 2, 4) for a in ("char", "<b>")]
