"""The report of unusual builds: missing parts, few models, official splits, several tasks, generation, ablation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.report import comparison_words, markdown, page
from tests.support import ROOT
from tests.support.html_page import Page
from tests.support.markdown_tables import tables
from tests.support.report_inputs import EXPLORATION, METRICS, MODELS, build, read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("report"))


@pytest.fixture
def variant(folder, tmp_path) -> Path:
    return shutil.copytree(folder, tmp_path / "variant")


def test_a_report_without_training_records_errors_or_disagreements(variant):
    import polars as pl

    shutil.rmtree(variant / "reports/training/similarity_embedder")
    for file in variant.glob("reports/**/*.parquet"):
        pl.read_parquet(file).clear().write_parquet(file)
    text = Page(page.render(read(variant))).text
    assert "All models decide alike on every test row." in text
    assert text.count("None.") == len(MODELS)
    assert markdown.render(read(variant)).startswith("# Retune report")


@pytest.mark.slow
@pytest.mark.parametrize("models", [("similarity_linear", "similarity_embedder"), ("similarity_embedder",)])
def test_a_task_with_fewer_models(tmp_path, models):
    tasks = read(build(tmp_path / "few", models))
    text = Page(page.render(tasks)).text
    assert "similarity_llm" not in text
    assert "minus F1 of the column's" not in text
    assert ("nothing to compare" in text) == (len(models) == 1)
    assert len(tables(markdown.render(tasks))) == len(models)


def test_official_splits_have_no_share(variant):
    file = variant / "data/splits/similarity/summary.json"
    split = json.loads(file.read_text())
    split["official"] = ["test"]
    for key in ("shares_wanted", "shares_got"):
        del split[key]["test"]
    file.write_text(json.dumps(split))
    assert "official" in Page(page.render(read(variant))).text


@pytest.mark.slow
def test_two_tasks_stand_on_one_page_with_ids_of_their_own(variant):
    for kind in (
        "data/converted", "data/splits", "data/calibrations", "reports/evaluations", "reports/comparisons",
        "reports/explore",
    ):  # fmt: skip
        shutil.copytree(variant / kind / "similarity", variant / kind / "alignment")
    resolved = json.loads((variant / "params-resolved.json").read_text())
    resolved["tasks"]["alignment"] = resolved["tasks"]["similarity"]
    (variant / "params-resolved.json").write_text(json.dumps(resolved))
    html = page.render(read(variant))
    elements = Page(html).elements
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {"similarity", "alignment", "alignment.metrics"} <= set(ids)
    links = {a["href"] for tag, a in elements if tag == "a"}
    assert links - {EXPLORATION, "explore/alignment/index.html"} <= {f"#{name}" for name in ids}


def test_undefined_metrics_are_dashes(variant):
    file = variant / "reports/metrics/similarity_llm.json"
    measured = json.loads(file.read_text())
    for key in METRICS:
        measured["test"][key] = {"value": None, "low": None, "high": None}
    file.write_text(json.dumps(measured))
    assert "–" in Page(page.render(read(variant))).text
    assert "similarity_llm" in markdown.render(read(variant))


def test_plain_generation_and_the_cost_of_an_endpoint_stand_beside_the_metrics(variant):
    file = variant / "reports/metrics/similarity_llm.json"
    measured = json.loads(file.read_text())
    measured["test"] |= {"generated_rows": 100, "generated_unparsed": 12, "generated_accuracy": 0.61}
    measured["test"] |= {"scored_accuracy": 0.684, "prompt_tokens": 52_800, "completion_tokens": 528, "cost": 0.0123}
    file.write_text(json.dumps(measured))
    for text in (Page(page.render(read(variant))).text, markdown.render(read(variant))):
        text = text.replace("\u00a0", " ")
        assert "of 100 test rows instead of scoring the labels leaves 12 (12.0 %) unparsed" in text
        assert "accuracy 0.610 instead of 0.684" in text
        assert "52,800 + 528 tokens for the test rows; cost 0.0123, 0.0384 for 1,000 rows" in text


def test_a_missing_input_is_named_with_the_remedy(variant):
    (variant / "reports/metrics/similarity_llm.json").unlink()
    with pytest.raises(RetuneError, match=r"reports/metrics/similarity_llm\.json is missing: run `dvc repro`"):
        read(variant)


@pytest.mark.slow
def test_the_stage_writes_both_files_and_reads_only_what_is_declared(variant):
    declared = ("data/converted", "data/splits", "data/calibrations", "reports/", "params-resolved.json")
    for path in [p for p in variant.rglob("*") if p.is_file()]:
        if not str(path.relative_to(variant)).startswith(declared):
            path.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "stages.report"],
        cwd=variant,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (variant / "reports").iterdir() if p.is_file()} == {"index.html", "summary.md"}


def test_the_stage_starts_at_once_and_without_torch():
    code = """if True:
        import sys, stages.report
        heavy = {"torch", "transformers", "altair", "vl_convert", "jinja2", "pydantic", "sklearn", "scipy"}
        print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_models_that_differ_in_augmented_rows_alone_are_an_ablation(variant):
    assert comparison_words.ablation_sentences(read(variant)[0]) == []
    resolved = json.loads((variant / "params-resolved.json").read_text())
    models = resolved["models"]
    models["similarity_untuned"] = models["similarity_embedder"] | {"augmented": False}
    (variant / "params-resolved.json").write_text(json.dumps(resolved))
    task = read(variant)[0]
    (pair,) = comparison_words.ablations(task)
    assert (pair.a, pair.b) == ("similarity_embedder", "similarity_untuned")
    (said,) = comparison_words.ablation_sentences(task)
    found = task.comparison["pairs"]
    entry = next(e for e in found if {e["a"], e["b"]} == {pair.a, pair.b})
    assert f"{abs(entry['metrics']['auc']['difference']):.3f}" in said
    assert "similarity_embedder (with 0 added rows) against similarity_untuned (without): F1" in said
    assert said in Page(page.render([task])).text
    assert "against similarity_untuned (without)" in markdown.render([task])
