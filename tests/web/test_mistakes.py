"""What a model mixes up and what a threshold gives, beside slow counts over the rows."""

from __future__ import annotations

import pytest

from retune.web import mistakes
from tests.support import web_project
from tests.support.web_project import LABELS


@pytest.mark.parametrize("label", LABELS)
def test_the_labels_mixed_up_with_one_are_counted_both_ways_round_and_ranked(label: str) -> None:
    rows = [row for split in ("calibration", "test") for row in web_project.decided("topics", split).to_dicts()]
    pairs = [(row["truth"], row["label"]) for row in rows]
    counts = {other: (pairs.count((other, label)), pairs.count((label, other))) for other in LABELS if other != label}
    seen = web_project.model("topics").seen
    assert seen is not None
    found = mistakes.confusion(seen, label)
    assert found.rows == len(rows)
    assert found.called == sum(said == label for _, said in pairs)
    assert found.right == pairs.count((label, label))
    assert [(one.there, one.back) for one in found.others] == [counts[one.other] for one in found.others]
    sums = sorted((sum(both) for both in counts.values() if sum(both)), reverse=True)
    assert [one.there + one.back for one in found.others] == sums[: mistakes.SHOWN]


def test_a_threshold_gives_precision_and_recall_on_the_calibration_rows_alone() -> None:
    one, rows = web_project.model("same"), web_project.decided("same", "calibration").to_dicts()
    assert one.calibration is not None
    for threshold in (0.0, 0.1, float(one.threshold or 0), 0.5, 0.9):
        called = [row for row in rows if row["prob_1"] >= threshold]
        hits = sum(row["truth"] == "1" for row in called)
        found = mistakes.measure(one.calibration, "1", threshold)
        assert found.rows == len(rows)
        assert found.precision == pytest.approx(hits / len(called))
        assert found.recall == pytest.approx(hits / sum(row["truth"] == "1" for row in rows))
    assert mistakes.measure(one.calibration, "1", 1.1).precision is None


def test_without_its_predictions_a_model_has_no_record() -> None:
    assert web_project.model("intent").seen is None
    assert web_project.model("thinker").calibration is None
    assert web_project.model("ranks").seen is None
