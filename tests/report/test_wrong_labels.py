"""What the exploration says of labels that are probably wrong: their number only where the models are good enough."""

from __future__ import annotations

import pytest

from retune.params import Params
from retune.report.exploration import wrong_labels

SPEC = Params(kind="classification", labels=["a", "b"], doubts=10000)


@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        (0.49, "agree with 49.0 % of the labels. That is too little to say how many are wrong"),
        (0.95, "Confident learning expects 12 wrong ones (3.0 %)"),
    ],
)
def test_how_many_are_wrong_is_told_by_models_that_can_tell(agreement, said):
    found = {"rows": 500, "judged": 400, "models": ["ngrams"], "agreement": agreement, "expected": 12}
    told = wrong_labels.fact(found, SPEC).replace("\N{NO-BREAK SPACE}", " ")
    assert "400 of 500 training rows were judged by ngrams without their groups" in told
    assert said in told
    assert ("12" in told) == (agreement >= wrong_labels.ENOUGH)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (Params(kind="scoring", labels=["1"]), "a scoring has no labels"),
        (Params(kind="pair", labels=["0", "1"], doubts=0), "exploration.doubts is 0"),
        (SPEC, "needs training rows of two labels in two groups"),
    ],
)
def test_why_nothing_is_looked_for(spec, why):
    assert why in wrong_labels.fact(None, spec)
