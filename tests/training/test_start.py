"""What a training begins with: the rule, its reasons, and what is written of it."""

from __future__ import annotations

import pytest

from retune.data.learned import Changes
from retune.errors import RetuneError
from retune.training import start
from retune.training.start import Start

SPEC = {"task": "t", "learner": "llm", "base_name": "q", "labels": ["a"], "lora": {"r": 8, "targets": ["q_proj"]}}


@pytest.mark.parametrize(
    ("rows", "labels", "cold"),
    [
        (Changes(9, 9, 3, 0, 0), (), None),
        (Changes(9, 9, 0, 0, 0), ("b",), None),
        (Changes(9, 9, 0, 0, 0), (), "no row and no label is new"),
        (
            Changes(9, 8, 3, 0, 1),
            (),
            "of the 9 rows that its last version learned from 1 are no training rows any more",
        ),
        (Changes(9, 7, 3, 2, 0), ("b",), "2 have another answer now, 7 are kept and 3 new"),
        (None, (), "built without warm_start"),
    ],
)
def test_a_last_version_is_a_start_where_something_was_only_added(rows, labels, cold):
    found = start.decide(None, rows, labels, "abc")
    assert (found.of is None) == (cold is not None)
    assert (cold or "") in (found.cold or "")
    assert found.sentence.startswith("Starts cold, from its base: " if cold else "Starts warm, from its last version")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"labels": ["a", "b"], "task": "other"}, None),
        ({"lora": {"r": 16, "targets": ["q_proj"]}}, "its last version has lora.r 8, which is 16 now"),
        ({"base_name": "g"}, "its last version has base_name q, which is g now"),
        ({"quantization": {"bits": 4}}, "its last version has quantization.bits None, which is 4 now"),
    ],
)
def test_what_does_not_fit_is_told_by_its_key(change, said):
    assert start.unfit(SPEC, {**SPEC, **change}) == said
    assert start.decide(said, Changes(9, 9, 3, 0, 0), (), "abc").cold == said


def test_a_start_is_read_as_it_was_written(tmp_path):
    warm = start.decide(None, Changes(9, 9, 1, 0, 0), ("b", "c"), "0123456789.dir")
    start.write(warm, tmp_path)
    assert start.read(tmp_path) == (warm, tmp_path / "model")
    assert warm.sentence.endswith("are training rows still, new are 1 row and the labels b, c.")
    start.write(Start("why"), tmp_path)
    assert start.read(tmp_path) == (Start("why"), None)
    with pytest.raises(RetuneError, match=r"absent is missing.*dvc checkout .*dvc pull"):
        start.read(tmp_path / "absent")
