"""Models with several seeds in the report: mean and spread in every table, an ensemble as one more model."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil

import numpy as np
import polars as pl
import pytest

from retune.errors import RetuneError
from retune.report import cautions, comparison_words, markdown, page, words
from stages.calibrate import calibrate
from stages.compare import compare
from stages.ensemble import ensemble
from stages.evaluate import evaluate
from tests.support import report_inputs
from tests.support.html_page import Page
from tests.support.stage_run import run

pytestmark = pytest.mark.slow

MODELS = ("similarity_linear", "similarity_untuned", "similarity_embedder")
SEEDED, MEAN = "similarity_embedder", "similarity_embedder-mean"
MEMBERS = {SEEDED: 42, f"{SEEDED}-43": 43, f"{SEEDED}-44": 44}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A built project of which one model has two more seeds and a mean."""
    folder = report_inputs.build(tmp_path_factory.mktemp("report"), MODELS)
    resolved = json.loads((folder / "params-resolved.json").read_text())
    task, first = resolved["tasks"]["similarity"], resolved["models"][SEEDED]
    for name, seed in list(MEMBERS.items())[1:]:
        resolved["models"][name] = {**first, "seed": seed}
        shutil.copytree(folder / f"reports/training/{SEEDED}", folder / f"reports/training/{name}")
        for split in ("calibration", "test"):
            ours = folder / f"data/predictions/similarity/{SEEDED}/{split}.parquet"
            table, random = pl.read_parquet(ours), np.random.default_rng(seed)
            odds = (table["prob_1"] / table["prob_0"]).log().to_numpy() + random.normal(
                0.3 * (seed - 43), 2, len(table)
            )
            second = pl.Series(1 / (1 + np.exp(-odds)))
            other = ours.parents[1] / name / ours.name
            other.parent.mkdir(exist_ok=True)
            table.with_columns(prob_0=1 - second, prob_1=second).write_parquet(other)
    (folder / f"reports/training/{SEEDED}-44/messages.json").write_text(
        json.dumps({"messages": [], "warnings": ["Collapsed to one class: seed 44 alone."]})
    )
    more = {"seeds": {SEEDED: MEMBERS}, "ensembles": {MEAN: SEEDED}, "fixed": [*MODELS[:2]]}
    task |= more
    task["comparison"] |= more | {"labels": ["0", "1"]}
    said = {"task": "similarity", "kind": "pair", "base": "encoder", "base_name": "e5-small", "labels": ["0", "1"]}
    said |= {"learner": "ensemble", "members": list(MEMBERS)}
    resolved["ensembles"] = {MEAN: said | {key: task[key] for key in ("calibration", "evaluation")}}
    (folder / "params-resolved.json").write_text(json.dumps(resolved))
    with contextlib.chdir(folder):
        for name in list(MEMBERS)[1:]:
            run(calibrate, name)
            run(evaluate, name)
        run(ensemble, MEAN)
        run(compare, "similarity")
    return folder


def metrics(folder, name):
    return json.loads((folder / f"reports/metrics/{name}.json").read_text())["test"]


@pytest.fixture(scope="module")
def tasks(folder):
    return report_inputs.read(folder)


def test_tables_show_the_mean_over_seeds_and_its_spread(folder, tasks):
    values = [metrics(folder, name)["f1"]["value"] for name in MEMBERS]
    mean, spread = words.number(np.mean(values)), words.number(np.std(values, ddof=1))
    (model,) = [one for one in tasks[0].models if one.name == SEEDED]
    assert model.metrics["f1"]["value"] == pytest.approx(np.mean(values))
    over = f"±\u00a0{spread}, {words.interval(min(values), max(values))}"
    for shown in (Page(page.render(tasks)).text, markdown.render(tasks)):
        assert mean in shown
        assert over in shown
        assert "trained with 3 seeds (42, 43 and 44)" in shown
        assert "over the chance of the rows and that of the seeds" in shown
    assert words.number(values[0]) not in [words.number(m.metrics["f1"]["value"]) for m in tasks[0].models]


def test_a_headline_says_that_it_is_of_a_mean_over_seeds(tasks):
    alone = dataclasses.replace(tasks[0], models=[model for model in tasks[0].models if model.name != MEAN])
    assert comparison_words.ranked(alone)[0].name == SEEDED
    assert "(mean over 3 seeds, 95\u00a0% interval" in " ".join(comparison_words.headline(alone))


def test_members_have_no_rows_of_their_own_and_the_mean_has_one(tasks):
    assert [model.name for model in tasks[0].models] == [*MODELS, MEAN]
    compared = {name for pair in comparison_words.pairs(tasks[0]) for name in pair}
    assert compared == {*MODELS, MEAN}


def test_the_mean_is_measured_like_any_model(folder):
    found, first = metrics(folder, MEAN), metrics(folder, SEEDED)
    assert found.keys() == first.keys()
    tables = [pl.read_parquet(folder / f"data/predictions/similarity/{name}/test.parquet") for name in MEMBERS]
    mean = np.mean([table["prob_1"].to_numpy() for table in tables], axis=0)
    labels = pl.read_parquet(folder / "data/splits/similarity/test.parquet")["label"].to_numpy()
    above = mean[labels == 1][:, None] - mean[labels == 0][None]
    assert found["auc"]["value"] == pytest.approx(np.mean((above > 0) + 0.5 * (above == 0)))
    fitted = json.loads((folder / f"data/calibrations/similarity/{MEAN}.json").read_text())
    assert {"temperature", "threshold", "messages", "unparsed"} <= fitted.keys()
    assert json.loads((folder / f"models/{MEAN}/spec.json").read_text())["members"] == list(MEMBERS)
    compared = json.loads((folder / "reports/comparisons/similarity/comparison.json").read_text())
    (against,) = [one for one in compared["pairs"] if (one["a"], one["b"]) == (SEEDED, MEAN)]
    expected = np.mean([metrics(folder, name)["auc"]["value"] for name in MEMBERS]) - found["auc"]["value"]
    assert against["metrics"]["auc"]["difference"] == pytest.approx(expected)


def test_what_one_seed_alone_was_warned_of_is_told(tasks):
    assert (f"{SEEDED}-44", "Collapsed to one class: seed 44 alone.") in cautions.cautions(tasks[0])


def test_nothing_is_shown_before_all_seeds_are_built(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / f"data/predictions/similarity/{SEEDED}-44")
    with contextlib.chdir(copy), pytest.raises(SystemExit, match=f"{SEEDED}-44 is not built yet"):
        run(compare, "similarity")
    file = copy / "reports/comparisons/similarity/comparison.json"
    found = json.loads(file.read_text())
    del found["seeds"]
    file.write_text(json.dumps(found))
    with pytest.raises(RetuneError, match=f"lacks the seeds of {SEEDED}"):
        report_inputs.read(copy)
