"""The page of a sweep in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from retune.sweep import words
from retune.sweep.record import Trial
from retune.sweep.search import Sweep
from retune.sweep.space import parse

pytestmark = pytest.mark.slow

SPACE = parse(
    ["training.learning_rate=1e-5..1e-3", "training.head=probe,random", "training.freeze_embeddings=true,false"]
)
VALUES = [
    {"training.learning_rate": rate, "training.head": head, "training.freeze_embeddings": head == "probe"}
    for rate, head in ((1.234e-05, "probe"), (0.0005678, "random"), (0.0009876, "probe"), (0.0001, "random"))
]
PRUNED = Trial(4, VALUES[3], "pruned", said="dev macro_f1 0.2 at step 40 (median)", curve=[[20, 0.1], [40, 0.2]])


def sweeps() -> dict[str, Sweep]:
    """One with curves by step, and one with folds."""
    curves = [[[20, 0.3 + n / 10], [40, 0.4 + n / 10], [60, 0.5 + n / 9]] for n in range(3)]
    once = [Trial(n + 1, VALUES[n], "done", c[-1][1], 60, 9.0, curve=c) for n, c in enumerate(curves)]
    folded = [
        Trial(n + 1, VALUES[n], "done", c[-1][1], None, 9.0, error=0.0123, curve=[[1, 0.4], [2, 0.45], [3, c[-1][1]]])
        for n, c in enumerate(curves)
    ]
    return {
        "once": Sweep("intent_encoder", "intent_encoder", "macro_f1", SPACE, [*once, PRUNED], {}),
        "folds": Sweep("a-name", "intent_encoder", "macro_f1", SPACE, folded, {}, folds=3),
    }


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["once", "folds"])
def test_the_page_fits_its_window_without_a_complaint(browser, tmp_path: Path, name: str, width: int, scheme: str):
    file = words.page(sweeps()[name], tmp_path / "index.html")
    view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints, requests = [], []
    view.on("console", lambda message: complaints.append(message.text))
    view.on("request", lambda request: requests.append(request.url))
    view.goto(file.as_uri())
    assert complaints == []
    assert requests == [file.as_uri()]
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    outside = """() => [...document.querySelectorAll('svg.chart')].flatMap(svg => {
      const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('text')].filter(text => {
        const r = text.getBoundingClientRect();
        return r.left < box.left - 3 || r.right > box.right + 3 || r.top < box.top - 3 || r.bottom > box.bottom + 3;
      }).map(text => svg.getAttribute('aria-label') + ': ' + text.textContent);
    })"""
    assert view.evaluate(outside) == []
    assert len(view.query_selector_all("svg.chart")) == 2
    view.close()
