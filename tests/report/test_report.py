"""The report: one page and one summary, complete, escaped, self-contained, and the same for the same inputs."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from retune.report import charts, comparison_words, markdown, page, words
from tests.support import ROOT
from tests.support.html_page import Page
from tests.support.markdown_tables import tables
from tests.support.report_inputs import EXPLORATION, HOSTILE, METRICS, MODELS, build, read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def html(folder) -> str:
    return page.render(read(folder))


@pytest.fixture(scope="module")
def summary(folder) -> str:
    return markdown.render(read(folder))


def test_the_page_shows_every_model_and_metric_with_its_interval(html, folder):
    text = Page(html).text
    for model in MODELS:
        assert model in text
        measured = json.loads((folder / f"reports/metrics/{model}.json").read_text())["test"]
        for key, shown in METRICS.items():
            assert shown.name in text
            assert f"{measured[key]['value']:.3f}" in text
            assert f"{measured[key]['low']:.3f}–{measured[key]['high']:.3f}" in text


def test_the_page_has_each_part(html):
    elements = Page(html).elements
    anchors = {attributes.get("id") for _, attributes in elements}
    linked = {attributes["href"] for tag, attributes in elements if tag == "a"}
    assert linked - {EXPLORATION} <= {f"#{anchor}" for anchor in anchors}
    assert len(linked) > 5
    assert EXPLORATION in linked
    drawn = [a["aria-label"] for tag, a in elements if tag == "svg" and a.get("class") == "chart"]
    assert len(drawn) == len(set(drawn)) == 2 + 2 + len(MODELS) + 2 * 2  # forests, curves, reliability, two trainings
    text = Page(html).text
    for said in (
        "2 in train and test",
        "text_a is empty (2)",
        "Gemma Terms of Use",
        "kept for the best dev AUC",
        "Stopped early",
        "lora.r",
    ):
        assert said in text.replace("\u00a0", " "), said


def test_ids_are_unique(html):
    ids = [a["id"] for _, a in Page(html).elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_texts_of_the_data_and_of_models_never_become_markup(html, summary, folder):
    assert html.lower().count("<script") == 2, "ours, and that of the runs on this machine"
    assert "]]>" not in html
    found = Page(html)
    assert not [tag for tag, _ in found.elements if tag in ("img", "iframe", "object", "link", "base")]
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in found.text
    tasks = read(folder)
    tasks[0].models[3].warnings.append(f"{HOSTILE} collapsed")
    tasks[0].spec.source["note"] = HOSTILE
    page_text, marked = page.render(tasks), markdown.render(tasks)
    assert page_text.count("<script") == 2
    assert " ".join(HOSTILE.split()) in " ".join(Page(page_text).text.split())
    assert "<script" not in marked
    assert "![" not in marked
    assert "@everyone" not in marked
    assert "|`" not in marked
    assert all(len(row) == len(block[0]) for block in tables(marked) for row in block)
    assert tables(marked) == tables(summary)


def test_markdown_escapes_give_back_the_text():
    markdown_it = pytest.importorskip("markdown_it")
    renderer = markdown_it.MarkdownIt("gfm-like", {"linkify": False})
    for text in (
        HOSTILE,
        "_a_ b_c __d__",
        "# no head",
        "- no list",
        "1. no list",
        "> no quote",
        "~~x~~ $x$ [a](b) <b>&amp;",
        "+ x",
        "= x",
    ):
        rendered = Page(renderer.render(markdown.escape(text)))
        assert rendered.text.replace("\u200b", "").strip() == " ".join(text.split())
        assert {tag for tag, _ in rendered.elements} <= {"p"}, text


def test_charts_escape_their_texts():
    drawn = charts.forest(
        [charts.Interval(HOSTILE, 0.5, 0.4, 0.6, charts.series_style(0, False), "0.500")], f'F1" onload="x {HOSTILE}'
    )
    elements = Page(drawn).elements
    assert {tag for tag, _ in elements} <= {"svg", "g", "path", "line", "text"}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]


RUNS = "../.retune/runs/runs.js"


def test_nothing_is_fetched_from_outside(html):
    for tag, attributes in Page(html).elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            inside = attributes.get(name, "#").startswith("#") or attributes[name] in (EXPLORATION, RUNS)
            assert inside, (tag, attributes)
    styles = re.search(r"<style>(.*?)</style>", html, flags=re.DOTALL)[1]
    assert not re.search(r"url\(|@import|@font-face", styles)
    assert "default-src 'none'" in html


def test_colours_are_variables_that_the_style_sheet_defines(html):
    css = (ROOT / "retune/report/style.css").read_text(encoding="utf-8")
    assert css in html, "the page holds it"
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", html))
    assert used <= set(re.findall(r"(--[a-z0-9-]+):", css))
    assert "#00ff" not in html
    every = [charts.series_style(i, reference).css for i in range(20) for reference in (True, False)]
    assert {re.search(r"--\w+", c)[0] for c in every} <= set(re.findall(r"(--[a-z0-9-]+):", css))


def test_the_same_inputs_give_the_same_bytes_and_no_place_or_time(folder, html, summary):
    code = """if True:
        import sys
        from retune import params
        from retune.report import inputs, markdown, page
        tasks = inputs.read(params.load())
        sys.stdout.buffer.write((page.render(tasks) + markdown.render(tasks)).encode())
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert done.stdout.decode() == html + summary
    assert str(folder) not in html
    assert str(ROOT) not in html + summary
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", html + summary)


def test_the_summary_has_a_column_for_each_metric_and_a_row_for_each_model(summary, folder):
    metrics, differences = tables(summary)
    comparison = read(folder)[0].comparison
    assert [cell.strip(" ↓") for cell in metrics[0]] == ["Model", *(m.name for m in METRICS.values())]
    assert [row[0].split()[0] for row in metrics[2:]] == [*MODELS, "_majority"]
    for column in range(1, len(metrics[0])):
        bold = [row[0].split()[0] for row in metrics[2:] if "**" in row[column]]
        key = list(METRICS)[column - 1]
        values = {m.name: m.metrics[key]["value"] for m in read(folder)[0].models}
        best = max(values, key=values.get) if METRICS[key].more_is_better else min(values, key=values.get)
        against = comparison["over_ignorant"][best][key]
        p, better = against["p"], (against["difference"] or 0) > 0
        beaten = against["difference"] is None or (p < 0.05 and better == METRICS[key].more_is_better)
        beaten = beaten or key == "calibration_error"  # a constant's is 0: it says how many rows are positive
        assert bold == ([best] if beaten else []), key
    compared = {(row[0].strip(), row[1].strip()) for row in differences[2:]}
    tuned = {"similarity_embedder", "similarity_llm"}
    assert compared == {(m, r) for m in tuned for r in ("similarity_linear", "similarity_untuned")} | {
        ("similarity_untuned", "similarity_linear")
    }
    assert "> [!WARNING]" in summary
    assert "Collapsed" in summary


def test_words_follow_the_corrected_p_and_the_direction():
    assert words.verdict(0.1, 0.01, 0.05) == "better"
    assert words.verdict(-0.1, 0.01, 0.05) == "worse"
    assert words.verdict(-0.1, 0.01, 0.05, more_is_better=False) == "better"
    for p in (0.05, 0.9, None):
        assert words.verdict(0.1, p, 0.05) == "no difference shown"


def test_a_comparison_reads_the_same_from_both_sides(folder):
    pairs = comparison_words.pairs(read(folder)[0])
    pair, turned = pairs["similarity_llm", "similarity_linear"], pairs["similarity_linear", "similarity_llm"]
    assert turned.turned() == pair
    assert turned.only_a == pair.only_b
    there, back = pair.differences["f1"], turned.differences["f1"]
    assert (there.low, there.high) == (-back.high, -back.low)
    assert there.verdict(0.05) == "better"
    assert back.verdict(0.05) == "worse"


def test_axis_ticks_are_round_and_inside():
    assert charts.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    for low, high in ((0.41, 0.87), (0, 1234), (-0.02, 0.003), (0.700001, 0.700002)):
        found = charts.ticks(low, high)
        assert 2 <= len(found) <= 7
        assert low <= found[0]
        assert found[-1] <= high


def worse(task, constant, shown):
    """The task as if the constant baseline had these values, and only the models in `shown` were shown to beat it."""
    over = {
        name: {
            key: d
            | ({"difference": 0.1, "p": 0.001} if name in shown else {"difference": 0.004, "p": 0.7, "at_most": False})
            for key, d in metrics.items()
        }
        for name, metrics in task.comparison["over_ignorant"].items()
    }
    ignorant = {key: d | {"value": constant} for key, d in task.comparison["ignorant"].items()}
    return dataclasses.replace(task, comparison=task.comparison | {"over_ignorant": over, "ignorant": ignorant})


def test_what_beats_no_constant_is_said_to_and_nowhere_called_best(folder):
    task = read(folder)[0]
    top = max(task.models, key=lambda m: m.metrics["f1"]["value"])
    value = f"{top.metrics['f1']['value']:.3f}"
    poor = worse(task, 0.77, ())
    said = comparison_words.headline(poor)
    assert said[0].startswith("No model is shown to beat knowing nothing in F1: majority class has 0.770, ")
    assert f"{top.name} {value} (+0.004, p\u00a0=\u00a00.700), the highest of the models." in said[0]
    assert len(said) == 2, "one statement for each leading metric"
    for text in (" ".join(said), markdown.render([poor]), page.render([poor])):
        assert "has the highest" not in text
        assert "It also" not in text
        assert "Best " not in text
    leading, *_ = tables(markdown.render([poor]))
    assert [name.strip() for name, *cells in zip(*leading, strict=True) if "**" in "".join(cells)] == [
        "Calibration error ↓"
    ]
    html = page.render([poor])
    assert f'<dt>Highest F1</dt><dd class="big">{value}</dd><dd class="small">{top.name}, not shown to beat' in html
    bold = re.findall(r'<td class="n best"><span class="value">([^<]*)', html)
    assert bold == [f"{min(m.metrics['calibration_error']['value'] for m in task.models):.3f}"]


def test_a_best_value_that_is_not_shown_to_beat_the_constant_is_said_beside_who_does(folder):
    task = read(folder)[0]
    top, second = sorted(task.models, key=lambda m: -m.metrics["f1"]["value"])[:2]
    first, *_ = comparison_words.headline(worse(task, 0.6, (second.name,)))
    assert first.startswith(f"The highest F1, {top.metrics['f1']['value']:.3f} of {top.name}, is not shown to beat")
    assert first.endswith(f"That is shown of {second.name}.")
    assert comparison_words.best(worse(task, 0.6, (second.name,)), "f1") == set()
    known = worse(task, 0.77, (top.name,))
    assert not any("knowing nothing in F1" in sentence for sentence in comparison_words.headline(known))
    assert comparison_words.headline(known)[0].startswith(f"{top.name} has the highest F1")
    assert comparison_words.best(known, "f1") == {top.name}
    assert "Best F1" in page.render([known])


def test_a_p_at_its_floor_is_at_most_that_everywhere(folder):
    task = read(folder)[0]
    pairs = [
        pair | {"metrics": {key: d | {"p": 0.012, "at_most": True} for key, d in pair["metrics"].items()}}
        for pair in task.comparison["pairs"]
    ]
    few = ["The test split has only 6 groups: intervals are rough."]
    floor = dataclasses.replace(task, comparison=task.comparison | {"pairs": pairs, "warnings": few})
    text, html = (made([floor]).replace("\u00a0", " ") for made in (markdown.render, page.render))
    assert "p at most 0.012" in text
    assert "p = 0.012" not in text
    assert "p at most 0.012" in html
    assert "p 0.012" not in html
    assert text.count(few[0]) == html.count(few[0]) == 1


def test_how_many_queries_count_is_said():
    assert words.covered({"rows": 9, "queries": 4924, "queries_counted": 51}) == " 51 of 4,924 queries counted;"
    assert words.covered({"rows": 9}) == ""
