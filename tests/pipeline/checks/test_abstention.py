"""Which tasks may keep answers back, and what they must say."""

import pytest

from retune.errors import RetuneError
from retune.pipeline.resolve import resolve
from tests.support.scoring_declarations import project

PAIR, SCORING = "    source: sample\n", "    source: rated\n"


def said(asked: str, at: str = PAIR) -> tuple[str, str, str]:
    return ("params.yaml", at, f"{at}    abstain: {asked}\n")


@pytest.mark.parametrize(
    ("asked", "promised"),
    [
        ("{coverage: 0.9}", {"coverage": 0.9}),
        ("{error: 0.05}", {"error": 0.05, "confidence": 0.95}),
        ("{error: 0.05, confidence: 0.9}", {"error": 0.05, "confidence": 0.9}),
    ],
)
def test_what_is_promised_reaches_the_calibration_and_no_training(tmp_path, asked, promised):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    found = resolve(project(tmp_path / "with", said(asked)))
    plain = resolve(project(tmp_path / "without"))
    assert found.resolved["tasks"]["questions"]["calibration"]["abstain"] == promised
    changed = {name for name in found.files if found.files[name] != plain.files[name]}
    assert changed, "of the models of this task alone"
    assert {name.split("/")[1] for name in changed} == {"calibrate"}


@pytest.mark.parametrize(
    ("asked", "at", "sentence"),
    [
        ("{coverage: 0.9}", SCORING, "tasks.rating.abstain: is for kinds classification and pair"),
        ("{none_of_these: 0.05}", PAIR, "tasks.questions.abstain.none_of_these: is for kind classification"),
        ("{coverage: 0.9, error: 0.1}", PAIR, "promises a coverage or an error, not both"),
        ("{}", PAIR, "needs `coverage`, `error` or `none_of_these`"),
        ("{coverage: 0.9, confidence: 0.9}", PAIR, "`confidence` is that of `error`, which is not asked for"),
        ("{coverage: 0.9, none_of_these: 0.2}", PAIR, "keeps more to itself than `coverage` lets"),
        ("{coverage: 1.5}", PAIR, "tasks.questions.abstain.coverage"),
        ("{cover: 0.9}", PAIR, "did you mean"),
    ],
)
def test_what_can_not_be_promised_is_said(tmp_path, asked, at, sentence):
    with pytest.raises(RetuneError) as error:
        resolve(project(tmp_path, said(asked, at)))
    assert sentence in str(error.value)
