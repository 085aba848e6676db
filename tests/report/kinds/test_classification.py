"""The report of a classification task, of 34 and of 77 labels: complete, escaped, and readable in a browser."""

import itertools
import re

import polars as pl
import pytest

from retune.params import loads
from retune.report import inputs, markdown, page
from tests.support import classification_inputs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[34, 77])
def built(request, tmp_path_factory):
    folder = classification_inputs.build(tmp_path_factory.mktemp("report"), request.param)
    tasks = inputs.read(loads((folder / "params-resolved.json").read_text()), folder)
    (folder / "index.html").write_text(page.render(tasks), encoding="utf-8")
    return folder, request.param, markdown.render(tasks)


@pytest.mark.slow
def test_the_summary_leads_with_macro_f1_and_names_both_models(built):
    _, _, summary = built
    assert "has the highest Macro-F1" in summary
    assert all(name in summary for name in ("intent_linear", "intent_llm", "Tail F1", "majority class"))
    assert "1 of 600 test rows have no parsed answer" in summary


def test_every_label_has_its_row_and_text_from_data_stays_text(built):
    folder, count, _ = built
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "</svg><b>" not in text
    for label in classification_inputs.labels_of(count)[:4]:
        assert label in text
    assert (folder / "reports/evaluations/intent/intent_llm/details/confusion_matrix.svg").stat().st_size < 200_000


def test_a_label_is_bold_where_it_beats_the_most_frequent_one(built):
    """Of always giving the most frequent label the F1 is 2 r / (n + r) of that label and 0 of the others."""
    folder, count, _ = built
    tables = [
        pl.read_csv(folder / f"reports/evaluations/intent/{name}/details/classes.csv")
        for name in classification_inputs.MODELS
    ]
    rows, wanted = tables[0]["rows"].to_list(), []
    for code in range(count):
        floor = 2 * rows[code] / (sum(rows) + rows[code]) if rows[code] == max(rows) else 0.0
        assert tables[0]["constant_f1"][code] == pytest.approx(floor)
        f1 = [table["f1"][code] for table in tables]
        wanted += [f"{value:.2f}" for value in f1 if value == max(f1) > floor]
    text = (folder / "index.html").read_text(encoding="utf-8")
    part = text[text.index('id="intent.classes"') : text.index('id="intent.confusions"')]
    assert sorted(re.findall(r'<td class="n best"><span class="value">([^<]*)', part)) == sorted(wanted)


@pytest.mark.slow
def test_nothing_overlaps_in_the_browser(built, browser):
    folder, count, _ = built
    shown = browser.new_page(viewport={"width": 1200, "height": 900})
    shown.goto((folder / "index.html").as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= 1200
    labels = shown.query_selector_all("details[open] svg.chart text[text-anchor=end]")
    assert len(labels) == count
    boxes = [label.bounding_box() for label in labels]
    steps = [below["y"] - above["y"] for above, below in itertools.pairwise(boxes)]
    assert min(steps) >= 11, "a line of labels, of 9 pixels in height, covers the next one"
    assert min(box["x"] for box in boxes) > 0
    assert max(box["width"] for box in boxes) > 60, "Chinese labels have a width, so a font was found for them"
    assert len(shown.query_selector_all("details[open] svg.chart rect")) > count
    shown.close()
