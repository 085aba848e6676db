"""The cards of an exported folder, as the hub reads them, and the stage that writes all of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from unittest.mock import patch

import pytest
from huggingface_hub import ModelCard

import retune
from retune import params
from retune.errors import RetuneError
from retune.exports import folder as folders
from retune.exports import parity, publish
from stages.export import export
from tests.support import exported, stage_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one built model, and its export by the stage, under a umask of 027."""
    root = tmp_path_factory.mktemp("project")
    spec, rows, fitted, pooler = exported.kinds()["pooler"]
    built = exported.model(root, spec, rows, fitted, pooler)
    for place in ("models/bases", "data/splits/t", "data/calibrations/t", "reports/metrics"):
        (root / place).mkdir(parents=True)
    (root / "model").rename(root / "models/small")
    (root / "base").rename(root / "models/bases/encoder")
    rows.write_parquet(root / "data/splits/t/calibration.parquet")
    (root / "data/calibrations/t/small.json").write_text(json.dumps(fitted | {"messages": [], "before": {"auc": 0.5}}))
    (root / "reports/metrics/small.json").write_text(json.dumps({"test": exported.METRICS}))
    given = dict(built.given) | {"model": "small", "task": "t", "base": "encoder"}
    (root / "params-resolved.json").write_text(
        json.dumps({"seed": 0, "code": {}, "predictions": {}, "exports": {"handed": given}})
    )
    here, before = Path.cwd(), os.umask(0o027)
    os.chdir(root)
    try:
        with patch.object(parity, "answers", exported.answers):
            stage_run.run(export, "handed")
    finally:
        os.chdir(here)
        os.umask(before)
    return root


def test_the_stage_writes_the_folder_its_proof_and_the_metric(project):
    out = project / "exports/handed"
    found = json.loads((out / "parity.json").read_text())
    proven = {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert found.pop("files") == {
        name: hashlib.sha256(data).hexdigest()
        for name, data in sorted(proven.items())
        if name not in ("README.md", "parity.json")
    }
    assert publish.proven(project / "exports", "handed").files.keys() == proven.keys()
    assert found == json.loads((project / "reports/metrics/parity/handed.json").read_text())
    assert found["rows"] == 64
    assert {oct(file.stat().st_mode & 0o777) for file in out.rglob("*") if file.is_file()} == {"0o640"}
    alone, own = (retune.load(one).similar([("花呗", "借呗")])[0] for one in (out, project / "models/small"))
    assert alone["label"] == own["label"]
    assert alone["probability"] == pytest.approx(own["probability"], abs=1e-5)


def test_the_card_is_one_of_the_hub(project):
    card = ModelCard((project / "exports/handed/README.md").read_text())
    data = card.data
    assert (data.license, data.base_model, data.language) == ("mit", "owner/tiny", ["zh"])
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    found = {one.metric_type: (one.metric_value, one.metric_name) for one in data.eval_results}
    assert found == {"f1": (0.75, "f1, 95% interval 0.500 to 0.875"), "auc": (0.5, "auc")}
    assert {(one.dataset_name, one.dataset_split) for one in data.eval_results} == {("t", "test")}
    assert data.model_name == "small"
    assert "The second label is decided from a probability of 0.4 on." in card.text
    assert "| f1 | 0.7500 | 0.500 to 0.875 |" in card.text
    assert "equal decisions 100.0%" in card.text


def test_export_json_says_what_the_project_said(project):
    card = json.loads((project / "exports/handed/export.json").read_text())
    assert card["task"] == {"name": "t", "kind": "pair", "labels": ["0", "1"], "texts": ["text_a", "text_b"]}
    assert card["calibration"] == {"temperature": 1.0, "threshold": 0.4, "temperature_in_weights": 1.7}
    assert card["licence"] == {"hub": "mit", "base": {"license": "MIT"}, "data": {"name": "made-up", "license": "none"}}


def test_the_script_that_proved_it_is_in_the_folder(project):
    assert (project / "exports/handed/answer.py").read_bytes() == (
        parity.OPENERS / "sequence_classifier.py"
    ).read_bytes()


@pytest.mark.parametrize(
    ("given", "licence"),
    [
        ({"base_entry": {"license": "Apache-2.0"}, "source": {"license": "none"}}, ("apache-2.0", None)),
        ({"base_entry": {"license": "Gemma Terms of Use"}, "source": {}}, ("gemma", None)),
        ({"base_entry": {"license": "Our own, 2.0"}, "source": {}}, ("other", "our-own-2.0")),
        ({"base_entry": {"kind": "none", "license": "not applicable"}, "source": {"license": "MIT"}}, ("mit", None)),
        ({"base_entry": {"license": "MIT"}, "source": {}, "license": "cc-by-4.0"}, ("cc-by-4.0", None)),
        ({"base_entry": {}, "source": {}}, ("other", "not-declared")),
    ],
)
def test_the_licence_is_one_that_the_hub_takes(given, licence):
    assert folders.licence_of(params.loads(json.dumps(given))) == licence


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"kind": "wheel"}, "owner/said"),
        ({"kind": "huggingface", "repo": "owner/other"}, "owner/other"),  # `bases` names another one than the entry
    ],
)
def test_the_base_is_the_one_of_the_build(entry, name):
    assert folders.base_model(params.loads(json.dumps({"base_model": "owner/said", "base_entry": entry}))) == name


def test_a_folder_of_a_newer_format_is_refused(project, tmp_path):
    card = json.loads((project / "exports/handed/export.json").read_text()) | {"format": 99}
    (tmp_path / "export.json").write_text(json.dumps(card))
    with pytest.raises(RetuneError, match="has format 99, and this Retune reads"):
        folders.read_card(tmp_path)
