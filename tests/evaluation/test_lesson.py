"""Answers become lessons at the temperature that was fitted; what was not answered is no lesson."""

from __future__ import annotations

import polars as pl
import pytest

from retune.evaluation import lesson
from retune.params import Params


def test_the_calibrated_probabilities_are_those_of_predictions():
    from retune.exports.decisions import decide

    table = pl.DataFrame({"id": ["a", "b", "c"], "prob_0": [0.9, 0.2, None], "prob_1": [0.1, 0.8, None],
                          "truncated": [False] * 3})  # fmt: skip
    fitted = {"temperature": 2.5, "threshold": 0.5}
    found = lesson.of(table, fitted, Params(kind="pair", labels=["0", "1"]))
    assert found["id"].to_list() == ["a", "b"]
    shown = decide(table, fitted, ["0", "1"])
    for place in range(2):
        assert found["lesson"][place].to_list() == pytest.approx([shown["prob_0"][place], shown["prob_1"][place]])
    assert found["lesson"][0].to_list() != pytest.approx([0.9, 0.1])


def test_a_score_is_the_expected_one_at_the_temperature_or_that_of_a_learner_without_probabilities():
    spec = Params(kind="scoring", labels=["1", "2", "3"], scores=[1, 3])
    table = pl.DataFrame({"id": ["a"], "score": [1.4], "prob_0": [0.7], "prob_1": [0.2], "prob_2": [0.1]})
    soft = [0.7**0.5, 0.2**0.5, 0.1**0.5]
    expected = sum(score * one for score, one in zip((1, 2, 3), soft, strict=True)) / sum(soft)
    found = lesson.of(table, {"temperature": 2.0, "estimate": "mode"}, spec)
    assert found["lesson"][0].to_list() == pytest.approx([expected])
    plain = lesson.of(table.select("id", score=pl.lit(4.2)), {"temperature": 1.0}, spec)
    assert plain["lesson"].to_list() == [[3.0]]


def test_a_documents_lesson_is_the_relevance_that_its_score_stands_for():
    table = pl.DataFrame({"id": ["a", "b", "c"], "score": [1.0, 9.0, None]})
    found = lesson.of(table, {"scale": 0.2, "bias": 0.1}, Params(kind="ranking", labels=["0", "1"]))
    assert found.to_dict(as_series=False) == {"id": ["a", "b"], "lesson": [[pytest.approx(0.3)], [1.0]]}
