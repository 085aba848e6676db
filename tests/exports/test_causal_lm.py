"""The stage's way of exporting an LLM: the form by `merge` and `decision`, parity, retune.load of what was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import retune
from retune.errors import RetuneError
from retune.exports import folder as folders
from retune.exports.causal_lm import write
from retune.exports.protocol import Built
from retune.params import Params
from tests.support import exported, exported_llm, llm_fit
from tests.support.exported_llm import ROWS, export

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", exported_llm.FORMS)
def test_each_form_passes_parity_and_is_read_back_by_retune(form: str, tiny: Built, tmp_path: Path) -> None:
    out = export(tiny, form, tmp_path / "small")
    found = exported.prove(tiny, out, ROWS)
    assert (found["form"], found["rows"], found["equal_decisions"]) == (form.split()[-1], len(ROWS), 1.0)
    assert found["largest_difference"] < 1e-5
    rows = ROWS.select("text_a", "text_b")
    there = retune.load(out).predict(rows)
    said = exported_llm.answers(out, rows)["answers"]
    assert np.allclose(there.select("prob_0", "prob_1").to_numpy(), said, atol=1e-5)
    assert len(there["label"].unique()) == 2


def test_an_adapter_on_a_quantised_base_is_refused(tiny: Built, tmp_path: Path) -> None:
    built = exported_llm.built(tiny.folder, tiny.base, llm_fit.spec_of(quantization__bits=4), tiny.fitted)
    with pytest.raises(RetuneError, match="small stands on a base in 4 bits: set `merge: true`"):
        write(built, tmp_path)
    assert not list(tmp_path.iterdir())


def project_of(model: Built, place: Path) -> Params:
    """Put a model that thinks where a project has it; its entry of `exports`."""
    details = "reports/evaluations/similarity/small/details"
    for folder in ("models", "data/calibrations/similarity", "reports/metrics", details):
        (place / folder).mkdir(parents=True)
    model.folder.rename(place / "models/small")
    readings = {name: {"unparsed": 0, "metrics": {"f1": {"value": value}}} for name, value in READINGS.items()}
    for file, content in (
        ("models/small/spec.json", model.spec),
        ("data/calibrations/similarity/small.json", model.fitted),
        ("reports/metrics/small.json", {"test": readings["after_reasoning"]["metrics"]}),
        (f"{details}/readings.json", {"readings": readings}),
    ):
        (place / file).write_text(json.dumps(content))
    return Params({**model.given, "model": "small"})


READINGS = {"after_reasoning": 0.9, "generated": 0.8, "direct": 0.6}


@pytest.mark.parametrize("form", ["adapter", "merged decision"])
def test_a_model_that_thinks_is_handed_on_for_its_answer_without_a_thought(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = {"temperature": 9.0, "threshold": 0.9, "direct": {"temperature": 1.4, "threshold": 0.4}}
    model = exported_llm.fitted(tmp_path, fitted, training__thinking=True)
    given = project_of(model, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    built = folders.built(given, lambda _: model.base)
    assert built.fitted == {"temperature": 1.4, "threshold": 0.4}
    out = export(built, form, tmp_path / "out")
    found = exported.prove(built, out, ROWS)
    assert (found["equal_decisions"], found["cut"]) == (1.0, 0)
    assert found["largest_difference"] < 1e-5
    texts = exported_llm.answers(out, ROWS)["texts"]
    assert all(text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n") for text in texts)
    (tmp_path / "again").mkdir()
    folders.write_readme(built, write(built, tmp_path / "again"), found, out)
    readme = (out / "README.md").read_text()
    assert "answers without a thought" in readme.replace("\n", " ")
    assert "| f1 | 0.6000 |" in readme
