"""The mean of what several trainings answer."""

import polars as pl
import pytest

from retune.errors import RetuneError
from retune.evaluation.mean_answers import mean


def table(*chances, cut=(False, False, False), ids="abc"):
    second = pl.Series(chances, dtype=pl.Float64)
    return pl.DataFrame({"id": list(ids), "label": ["0"] * 3, "prob_0": 1 - second, "prob_1": second, "truncated": cut})


def test_probabilities_are_averaged_and_the_likeliest_label_follows():
    found = mean([table(0.2, 0.9, 0.5), table(0.9, 0.7, 0.1, cut=(False, True, False))], ["no", "yes"])
    assert found.columns == ["id", "label", "prob_0", "prob_1", "truncated"]
    assert found["prob_1"].to_list() == pytest.approx([0.55, 0.8, 0.3])
    assert found["label"].to_list() == ["yes", "yes", "no"]
    assert found["truncated"].to_list() == [False, True, False]


def test_who_does_not_answer_is_left_out_and_nobody_is_null():
    found = mean([table(None, None, 0.5), table(0.8, None, 0.1)], ["no", "yes"])
    assert found["prob_1"].to_list() == [pytest.approx(0.8), None, pytest.approx(0.3)]
    assert found["label"].to_list() == ["yes", None, "no"]


def test_scores_of_a_ranking_are_averaged():
    one, two = (
        pl.DataFrame({"id": ["a", "b"], "score": scores, "truncated": False}) for scores in ([1.0, 2.0], [3.0, -2.0])
    )
    assert mean([one, two]).to_dict(as_series=False) == {
        "id": ["a", "b"],
        "score": [2.0, 0.0],
        "truncated": [False, False],
    }


def test_other_rows_are_refused():
    with pytest.raises(RetuneError, match="other rows"):
        mean([table(0.1, 0.2, 0.3), table(0.1, 0.2, 0.3, ids="acb")], ["no", "yes"])
