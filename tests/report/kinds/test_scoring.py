"""What a reader gets of a task of kind `scoring`, of models that think, and of its exploration."""

import dataclasses
import json
import re

import polars as pl
import pytest

from retune import params
from retune.report import inputs, markdown, page
from tests.support.html_page import Page
from tests.support.scoring_project import DIMENSIONS, HOSTILE, MODELS, build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def tasks(folder):
    return inputs.read(params.load(folder / "params-resolved.json"), folder)


@pytest.fixture(scope="module")
def html(tasks):
    return page.render(tasks)


def test_it_leads_with_the_least_error(tasks, html):
    assert "thinker has the lowest MAE" in html
    assert "Best MAE" in html
    assert "MAE against training mean of the dimension" in html
    text = markdown.render(tasks)
    assert "MAE ↓" in text
    assert "thinker has the lowest MAE" in text
    row = next(line for line in text.splitlines() if line.startswith("| thinker |"))
    assert row.count("**") >= 2


def test_no_figure_of_a_dimension_is_bold_that_does_not_beat_its_constant(tasks):
    def bold(least: float) -> list[list[str]]:
        """The bold figures of each dimension, where every constant's MAE is `least`."""
        models = [
            dataclasses.replace(
                m, details=m.details | {"dimensions": m.details["dimensions"].with_columns(constant_mae=pl.lit(least))}
            )
            for m in tasks[0].models
        ]
        html = page.render([dataclasses.replace(tasks[0], models=models)])
        part = html[html.index('id="risk.dimensions"') : html.index('id="risk.scores"')]
        rows = re.findall(r"<tr>.*?</tr>", part, flags=re.DOTALL)[1:]
        return [re.findall(r'<td class="n best"><span class="value">([^<]*)', row) for row in rows]

    errors = [[m.details["dimensions"]["mae"][i] for m in tasks[0].models] for i in range(len(DIMENSIONS))]
    assert bold(9.0) == [[f"{min(row):.2f}"] for row in errors]
    assert bold(0.1) == [[] for _ in errors]
    between = (min(errors[0]) + sorted(errors[0])[1]) / 2
    assert bold(between) == [[f"{min(row):.2f}"] * (min(row) < between) for row in errors]


def test_it_has_every_section_and_escapes_what_rows_and_models_say(folder, html):
    for anchor in ("dimensions", "scores", "consistency", "reasoning", "errors"):
        assert f'id="risk.{anchor}"' in html
        assert f'href="#risk.{anchor}"' in html
    for text in (*DIMENSIONS, *DIMENSIONS.values(), "Quality of the reasons", "Repeated sampling"):
        assert text in html
    explored = (folder / "reports/explore/risk/index.html").read_text(encoding="utf-8")
    for document in (html, explored):
        assert HOSTILE in " ".join(Page(document).texts)
        assert HOSTILE not in document
        assert document.count("<script") == (2 if document is html else 0), "the page's own"


def test_the_readings_stand_with_their_figures_lengths_and_speed(folder, html):
    details = folder / "reports/evaluations/risk/thinker/details"
    found = json.loads((details / "readings.json").read_text())
    part = html[html.index('id="risk.reasoning"') : html.index('id="risk.training"')]
    for reading in found["readings"].values():
        assert f"{reading['metrics']['mae']['value']:.3f}" in part
    assert f"{found['tokens']['mean']:.1f}" in part
    runs = (folder / ".retune/runs/runs.js").read_text(encoding="utf-8")
    told = re.search(r'data-run="(predict/thinker/\w+)" data-shown="count" data-of="tokens_per_second"', part)
    assert told, "the page has a place for it"
    assert told[1] in runs, "and finds the run in the records of this machine"
    assert "50.6" in runs
    assert "better" in part
    quality = json.loads((details / "rationale.json").read_text())
    for whose in ("generated", "gold"):
        assert f"{quality[whose]['metrics']['sufficiency']['value']:.3f}" in part


def test_mean_median_and_mode_stand_side_by_side_and_the_decision_is_marked(folder, html):
    found = json.loads((folder / "reports/evaluations/risk/thinker/details/estimates.json").read_text())
    fitted = json.loads((folder / "data/calibrations/risk/thinker.json").read_text())
    part = html[html.index("Mean, median or mode") : html.index("<h4>Distribution</h4>")]
    for rule, metrics in found.items():
        assert f"{metrics['mae']['value']:.3f}" in part
        assert f"{fitted['maes'][rule]:.3f}" in part
    assert f"{fitted['estimate']} (the decision)" in part
    assert part.count("(the decision)") == sum(model != "linear" for model in MODELS)


def test_a_task_without_reasons_has_no_such_section(folder, tmp_path):
    resolved = json.loads((folder / "params-resolved.json").read_text())
    resolved["tasks"]["risk"]["models"] = ["linear", "silent"]
    (tmp_path / "params.json").write_text(json.dumps(resolved))
    html = page.render(inputs.read(params.load(tmp_path / "params.json"), folder))
    assert "risk.reasoning" not in html
    assert "Repeated sampling" not in html


def test_correlations_and_dimensions_of_every_model_are_shown(folder, html):
    for name in MODELS:
        consistency = json.loads((folder / f"reports/evaluations/risk/{name}/details/consistency.json").read_text())
        assert f"{consistency['correlations']['predicted'][0][1]:.2f}" in html
    assert len(re.findall(r'aria-label="Confusion matrix"', html)) == len(MODELS)


def test_the_exploration_shows_the_scores_of_each_dimension(folder):
    found = json.loads((folder / "reports/explore/risk/exploration.json").read_text(encoding="utf-8"))
    summary = json.loads((folder / "data/splits/risk/summary.json").read_text(encoding="utf-8"))
    for dimension in DIMENSIONS:
        counts = {
            int(target.rpartition(":")[2]): rows
            for target, rows in summary["splits"]["train"]["targets"].items()
            if target.startswith(f"{dimension}:")
        }
        train = found["scores"][dimension]["splits"]["train"]
        assert train["rows"] == sum(counts.values())
        assert train["mean"] == pytest.approx(sum(k * n for k, n in counts.items()) / sum(counts.values()), abs=1e-3)
    assert list(found["characters"]) == ["document"]
    assert any(fact.startswith("Mean training score: growth") for fact in found["facts"])
    assert sum(summary["shared_texts"].values()) == 0


def test_the_stages_of_a_curriculum_stand_with_their_own_dev_metrics(tasks, html):
    part = html[html.index('id="risk.training"') : html.index('id="risk.cost"')]
    for text in ("basics", "everything", "growth, debt, brand", "50.0\N{NO-BREAK SPACE}%", "0.900", "1.100"):
        assert text in part
    thinker = next(model for model in tasks[0].models if model.name == "thinker")
    assert thinker.chosen == (20.0, 1.1)  # the last stage is the model, although the first was better on dev
    assert "step\N{NO-BREAK SPACE}20, which the last stage kept" in part
