"""Warnings of the report: the gravest first, and what several models have in common said once with their names."""

from __future__ import annotations

import dataclasses

import pytest

from retune.report import markdown, page
from retune.report.cautions import cautions
from tests.support.report_inputs import MODELS, build, read

pytestmark = pytest.mark.slow

LIMIT = "The temperature stops at its limit 100: the probabilities say little about the labels."
CAUSE = "Zero learned: every dev row gets label 0."
FEW = "The test split has only 6 groups: intervals are rough."
LEAK = "12 of 320 test rows share a text with a training row: what is measured there may flatter."
CUT = "A tenth of train is longer than the 128 tokens that m may read: these rows are cut."


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return read(build(tmp_path_factory.mktemp("cautions")))[0]


@pytest.fixture(scope="module")
def task(plain):
    """The task as if the stages had warned in all ways, in an order which neither severity nor the alphabet gives."""
    models = [
        dataclasses.replace(
            m,
            warnings=[CAUSE] * (i in (1, 2)),
            calibration=m.calibration | {"messages": [LIMIT] * (i != 1)},
            counts=m.counts | {"unparsed": 7 * (i == 3)},
        )
        for i, m in enumerate(plain.models)
    ]
    return dataclasses.replace(
        plain,
        models=models,
        exploration=plain.exploration | {"leaks": [LEAK], "warnings": [CUT, LEAK]},
        comparison=plain.comparison | {"warnings": [FEW]},
    )


def test_the_gravest_come_first_and_what_models_share_is_said_once_with_their_names(task):
    one, two, three, four = MODELS
    said = cautions(task)
    shared = "The splits train and test share 2 rows with the same texts: the figures may flatter."
    assert said == [
        ("similarity", shared),
        ("similarity", LEAK),
        (f"{two} and {three}", CAUSE),
        (four, "7 of 320 test rows have no parsed answer; they count as wrong."),
        ("similarity", FEW),
        (f"{one}, {three} and {four}", LIMIT),
        ("similarity", CUT),
    ]
    assert [sentence for _, sentence in said] != sorted(sentence for _, sentence in said)


def test_summary_and_page_have_them_in_that_order(task):
    html = page.render([task]).split("</dl>")[1].split("<section>")[0]  # between the tiles and the first section
    for text in (markdown.render([task]), html):
        places = [text.index(sentence.split(":")[0]) for _, sentence in cautions(task)]
        assert places == sorted(places)
        assert text.count(LIMIT.split(":")[0]) == 1


def test_an_exploration_tells_leaks_from_other_findings(plain):
    found = plain.exploration
    assert found["leaks"] == [said for said in found["warnings"] if "may flatter" in said] != []
