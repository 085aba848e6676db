"""Bins of the bin accuracy in params.yaml: they begin inside the scores, and only kind `scoring` has them."""

import pytest

from retune.errors import RetuneError
from retune.pipeline.resolve import resolve
from tests.support.scoring_declarations import project

P = "params.yaml"


def said(bins: str) -> tuple[str, str, str]:
    return (P, "    source: rated\n", f"    source: rated\n    evaluation: {{bins: {bins}}}\n")


def test_bins_reach_the_evaluation_of_scoring_alone(tmp_path):
    found = resolve(project(tmp_path, said("[2, 4]"))).resolved["tasks"]
    assert found["rating"]["evaluation"]["bins"] == [2, 4]
    assert "bins" not in found["questions"]["evaluation"]
    assert "terms" not in found["questions"]["evaluation"]


@pytest.mark.parametrize(
    ("bins", "sentence"),
    [
        ("[4, 8]", "tasks.rating.evaluation.bins: is [4, 8]; with the scores of task rating a bin may begin at 2 to 5"),
        ("[1, 3]", "a bin may begin at 2 to 5"),
        ("[4, 2]", "the scores at which bins begin must ascend"),
        ("[2, 2]", "the scores at which bins begin must ascend"),
        ("[x]", "must be a whole number"),
    ],
)
def test_bins_outside_the_scores_are_refused(bins, sentence, tmp_path):
    with pytest.raises(RetuneError) as error:
        resolve(project(tmp_path, said(bins)))
    assert sentence in str(error.value)


def test_default_bins_must_fit_every_scoring_task(tmp_path):
    with pytest.raises(RetuneError, match=r"evaluation\.bins: is \[4, 8\]; with the scores of task rating"):
        resolve(project(tmp_path, (P, "lora: {r: 16}\n", "lora: {r: 16}\nevaluation: {bins: [4, 8]}\n")))
