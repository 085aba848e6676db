"""The table of exports, on the page and in the summary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retune import params
from retune.errors import RetuneError
from retune.report import markdown, page, parity
from tests.support.html_page import Page
from tests.support.markdown_tables import tables
from tests.support.report_inputs import build, read

pytestmark = pytest.mark.slow


def test_exports_are_shown_with_their_parity_and_none_leaves_no_trace(tmp_path: Path) -> None:
    found = {"form": "cross-encoder", "loader": "sentence-transformers 6.2.0", "dtype": "float32", "rows": 1280}
    found |= {"cut": 3, "largest_difference": 4.1e-6, "mean_difference": 7e-7, "equal_decisions": 0.9375}
    tasks = read(build(tmp_path / "report"))
    (tmp_path / "reports/metrics/parity").mkdir(parents=True)
    (tmp_path / "reports/metrics/parity/handed_on.json").write_text(json.dumps(found | {"tolerance": 1e-4}))
    declared = params.loads('{"exports": {"handed_on": {"model": "similarity_llm"}}}')
    handed = parity.read(declared, tmp_path)
    cells = ["similarity_llm", "cross-encoder", "sentence-transformers 6.2.0", "float32", "1,280 (3 cut, left out)"]
    cells += ["4.1e-06", "7.0e-07", "0.0001", "93.8%"]
    *_, table = tables(markdown.render(tasks, handed))
    assert [[cell.strip() for cell in table[place]] for place in (0, -1)] == [[*parity.HEADS], ["handed_on", *cells]]
    text = Page(page.render(tasks, handed)).text
    assert "handed_on" + "".join(cells) in text
    assert "Exports" not in markdown.render(tasks)
    assert "exports" not in page.render(tasks)
    cost = {"metric": "macro_f1", "difference": -0.0034, "p": 0.94, "at_most": False}
    (tmp_path / "reports/metrics/parity/handed_on.json").write_text(
        json.dumps(found | {"tolerance": None, "quality": cost})
    )
    assert parity.read(declared, tmp_path)[0].cells[-2] == "macro_f1 -0.003, p = 0.940"
    (tmp_path / "reports/metrics/parity/handed_on.json").unlink()
    with pytest.raises(RetuneError, match=r"parity/handed_on\.json is missing"):
        parity.read(declared, tmp_path)
