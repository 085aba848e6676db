"""The mean of several trainings, loaded and asked like any other model."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest

import retune
from retune.errors import RetuneError
from tests.support import inference_project
from tests.support.command_line import run
from tests.support.inference_project import LABELS, TEXTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = inference_project.project(tmp_path_factory.mktemp("project"))
    rows = pl.DataFrame({"text": [*TEXTS, "查一下"] * 9, "label": [*LABELS, LABELS[0]] * 9})
    spec = inference_project.fitted(root / "other", "intent-43", "classification", LABELS, rows, {})
    shutil.copytree(root / "other/models/intent-43", root / "models/intent-43")
    said = {key: spec[key] for key in ("task", "kind", "labels", "base")}
    mean = root / "models/intent-mean"
    mean.mkdir()
    (mean / "spec.json").write_text(json.dumps(said | {"learner": "ensemble", "members": ["intent", "intent-43"]}))
    fitted = {"temperature": 1.0, "messages": []}
    (root / "data/calibrations/classification/intent-mean.json").write_text(json.dumps(fitted))
    return root


def test_its_answers_are_the_mean_of_its_members(root):
    mean = retune.load(root / "models/intent-mean")
    rows = pl.DataFrame({"id": ["a", "b"], "text": ["查一下话费", "我要开通"]})
    shutil.copy(
        root / "data/calibrations/classification/intent.json", root / "data/calibrations/classification/intent-43.json"
    )
    one, two = (retune.load(root / f"models/{name}").predictor.predict(rows) for name in ("intent", "intent-43"))
    found = mean.predict(rows)
    for code, label in enumerate(LABELS):
        expected = (one[f"prob_{code}"] + two[f"prob_{code}"]) / 2
        assert found[f"prob_{label}"].to_list() == pytest.approx(expected.to_list())
    assert [row["label"] for row in mean.classify(TEXTS)] == LABELS
    assert not one["prob_0"].equals(two["prob_0"]), "the members must differ"


def test_the_command_line_predicts_with_it(root):
    (root / "rows.csv").write_text("text\n" + "\n".join(TEXTS), encoding="utf-8")
    run(root, "predict", "intent-mean", "rows.csv", "--column", "text=text", "--out", "out.csv")
    assert pl.read_csv(root / "out.csv")["label"].to_list() == LABELS


def test_a_member_that_is_not_here_is_told(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    shutil.rmtree(copy / "models/intent-43")
    with pytest.raises(RetuneError, match="mean of 2 models, and intent-43 is not here: `retune pull intent-mean`"):
        retune.load(copy / "models/intent-mean")
