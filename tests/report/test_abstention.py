"""What the report says of models that keep answers back, built by the real stages."""

from __future__ import annotations

import contextlib
import json
import re
from html import unescape
from pathlib import Path

import pytest

from retune.report import abstention, markdown, page
from stages.calibrate import calibrate
from stages.evaluate import evaluate
from tests.support import report_inputs
from tests.support.stage_run import run

pytestmark = pytest.mark.slow

MODELS = ("similarity_linear", "similarity_embedder")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_inputs.build(tmp_path_factory.mktemp("project"), MODELS)


def measured(folder: Path, asked: dict[str, float] | None) -> dict[str, bytes]:
    """Calibrate and evaluate with this `abstain`; the bytes of what both wrote, by path."""
    file = folder / "params-resolved.json"
    resolved = json.loads(file.read_text())
    task = resolved["tasks"]["similarity"]
    task["calibration"].pop("abstain", None)
    task["calibration"] |= {"abstain": asked} if asked else {}
    for section in ("calibration", "evaluation"):
        task[section] |= {"labels": ["0", "1"]}
    file.write_text(json.dumps(resolved))
    with contextlib.chdir(folder):
        for name in MODELS:
            run(calibrate, name)
            run(evaluate, name)
    parts = ("data/calibrations", "reports/metrics", "reports/evaluations")
    files = [one for part in parts for one in sorted((folder / part).rglob("*")) if one.is_file()]
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in files}


def test_without_the_key_every_output_keeps_its_bytes(plain: Path) -> None:
    before = measured(plain, None)
    shown = page.render(report_inputs.read(plain))
    with_key = measured(plain, {"coverage": 0.8})
    changed = {name for name in with_key if with_key[name] != before.get(name)}
    assert changed == {
        one
        for name in MODELS
        for one in (
            f"data/calibrations/similarity/{name}.json",
            f"reports/metrics/{name}.json",
            f"reports/evaluations/similarity/{name}/plots/risk_coverage.csv",
        )
    }
    for name in MODELS:  # what was there before stands there still
        metrics = json.loads(with_key[f"reports/metrics/{name}.json"])
        assert metrics["test"] == json.loads(before[f"reports/metrics/{name}.json"])["test"]
    assert "bstention" not in shown
    assert measured(plain, None) == before
    assert page.render(report_inputs.read(plain)) == shown


def test_the_page_has_promise_threshold_and_what_was_kept(plain: Path) -> None:
    measured(plain, {"coverage": 0.8})
    (task,) = report_inputs.read(plain)
    shown = page.render([task])
    (plain / "abstention.html").write_text(shown)
    part = shown[shown.index('id="similarity.abstention"') :]
    words = unescape(re.sub(r"<[^>]+>", " ", part[: part.index("</section>")]))
    for model in task.models:
        found = model.abstention["metrics"]
        assert f"{found['coverage']['value']:.3f}" in words
        assert f"{found['aurc']['value']:.3f}" in words
        assert f"at the threshold, {model.calibration['abstain_below']:.3f}" in words
        assert found["error"]["value"] < found["error_of_all"]["value"]
        assert abs(found["coverage"]["value"] - 0.8) < 0.15
    assert words.count("80.0") == len(MODELS)
    assert 'href="#similarity.abstention"' in shown
    assert "| similarity_linear _(baseline)_ | 80.0" in markdown.render([task])


def test_a_promise_that_can_not_be_kept_is_a_warning_and_answers_nothing(plain: Path) -> None:
    measured(plain, {"error": 0.001, "confidence": 0.95})
    (task,) = report_inputs.read(plain)
    shown = page.render([task])
    assert "answers nothing" in shown
    assert "No threshold keeps the share of wrong answers below 0.001" in shown
    assert abstention.promised(task.models[0]).endswith("wrong, confidence 0.95")
