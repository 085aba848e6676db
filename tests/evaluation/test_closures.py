"""What the stages that measure depend on: an edit of the judge, or of a table for the report, calibrates no model."""

import pytest

from retune.pipeline.fingerprint import Code, roots
from tests.support import ROOT

KINDS = ("classification", "pair", "ranking", "scoring")
DETAILS = {
    *(f"retune.evaluation.{name}" for name in ("judge", "judgements", "reasons", "rationale", "curves", "details")),
    "retune.evaluation.reading_metrics",
    "retune.evaluation.self_consistency",
    "retune.sources.chat_api",
}


@pytest.fixture(scope="module")
def code() -> Code:
    return Code(ROOT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["calibrate", "compare"])
def test_neither_calibration_nor_comparison_depends_on_the_details(code, stage, kind):
    assert DETAILS & set(code.closure(roots(stage, {"kind": kind}))) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibration_depends_on_no_comparison(code, kind):
    found = set(code.closure(roots("calibrate", {"kind": kind})))
    assert {"retune.evaluation.comparison", "retune.evaluation.bootstrap"} & found == set()


@pytest.mark.parametrize("kind", ["pair", "scoring"])
def test_the_evaluation_of_what_has_reasons_depends_on_the_judge(code, kind):
    found = code.closure(roots("evaluate", {"kind": kind}))
    assert {"retune.evaluation.judge", f"retune.evaluation.details.{kind}"} <= set(found)


@pytest.mark.parametrize("stage", ["convert", "split", "calibrate", "evaluate", "compare", "explore"])
def test_no_stage_depends_on_what_only_the_type_checker_reads(code, stage):
    found = code.closure([*roots(stage, {"kind": "pair"}), "stages.report", "retune.report.kinds.pair"])
    assert [name for name in found if name.endswith(".protocol")] == []
