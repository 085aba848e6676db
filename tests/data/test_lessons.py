"""Lessons reach the rows that they were given for, and soft labels become weighted rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from retune.data import lessons
from retune.params import Params


def test_lessons_are_joined_by_id_and_unlabelled_rows_stand_behind(tmp_path):
    rows = pl.DataFrame({"id": ["a", "b", "c"], "group": ["1", "2", "3"], "text": ["x", "y", "z"], "label": [0, 1, 1],
                         "origin": ["original"] * 3}, schema_overrides={"label": pl.Int8})  # fmt: skip
    said = pl.DataFrame({"id": ["u", "c", "a"], "lesson": [[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]]})
    more = pl.DataFrame({"id": ["u"], "group": ["u"], "text": ["w"]})
    lessons.write(tmp_path, said, more, {"teacher": "wise"})
    found, sentence = lessons.join(rows, tmp_path)
    assert found["id"].to_list() == ["a", "b", "c", "u"]
    assert found["lesson"].to_list() == [[0.8, 0.2], None, [0.1, 0.9], [0.5, 0.5]]
    assert found["label"].to_list() == [0, 1, 1, None]
    assert sentence == "wise taught it 2 of 3 training rows and 1 without a label."
    assert lessons.codes(found["label"], ["0", "1"]).tolist() == [0, 1, 1, lessons.NONE]
    table = lessons.table(found, 2)
    assert np.isnan(table[1]).all()
    assert table[[0, 2, 3]].tolist() == [[0.8, 0.2], [0.1, 0.9], [0.5, 0.5]]


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_weighted_rows_say_the_same_as_soft_labels(weight):
    random = np.random.default_rng(1)
    gold = np.array([0, 2, lessons.NONE, 1])
    chances = random.dirichlet(np.ones(3), 4)
    chances[3] = np.nan
    losses = random.uniform(1, 2, (4, 3))  # of each row with each label
    rows, codes, weights = lessons.as_weighted_rows(gold, chances, Params(weight=weight, temperature=2.0))
    expected = 0.0
    for row in range(4):
        if gold[row] != lessons.NONE:
            expected += (1 - weight) * losses[row, gold[row]]
        if row != 3:
            soft = np.sqrt(chances[row]) / np.sqrt(chances[row]).sum()
            expected += weight * (soft * losses[row]).sum()
    assert (weights * losses[rows, codes]).sum() == pytest.approx(expected)
    assert (weights > 0).all()


def test_tiny_probabilities_are_left_out_and_the_rest_is_whole():
    sure = np.array([[0.9995, 0.0004, 0.0001]])
    found = lessons.as_weighted_rows(np.array([lessons.NONE]), sure, Params(weight=0.5, temperature=1.0))
    assert [one.tolist() for one in found] == [[0], [0], [0.5]]
