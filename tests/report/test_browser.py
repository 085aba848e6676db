"""The report in a real browser, at the widths of a desktop and of a telephone, in light, in dark and on paper."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import pytest

from retune import params
from retune.report import inputs, page, parity
from tests.support import scoring_project
from tests.support.report_inputs import build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = build(tmp_path_factory.mktemp("browser"))
    file = folder / "reports/index.html"
    found = {
        "form": "cross-encoder",
        "loader": "sentence-transformers 6.2.0",
        "dtype": "float32",
        "rows": 128,
        "cut": 3,
    }
    found |= {"largest_difference": 4.1e-6, "mean_difference": 7e-7, "tolerance": 1e-4, "equal_decisions": 1.0}
    handed = [parity.Parity("similarity_embedder", "similarity_embedder", found)]
    tasks = inputs.read(params.load(folder / "params-resolved.json"), folder)
    file.write_text(page.render(tasks, handed), encoding="utf-8")
    scored = scoring_project.build(tmp_path_factory.mktemp("scored"))
    tasks = inputs.read(params.load(scored / "params-resolved.json"), scored)
    (file.parent / "scored.html").write_text(page.render(tasks), encoding="utf-8")
    shutil.copytree(scored / "reports/explore/risk", file.parent / "explore/risk")
    return file


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["index.html", "explore/similarity/index.html", "scored.html", "explore/risk/index.html"]
)
def test_a_page_fits_its_window_and_shows_itself_without_a_complaint(browser, report, name, width, scheme):
    report = report.parent / name
    view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints, requests = [], []
    view.on("console", lambda message: complaints.append(message.text))
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on("request", lambda request: requests.append(request.url))
    view.goto(report.as_uri())
    view.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert complaints == []
    runs = [(report.parents[1] / ".retune/runs/runs.js").as_uri()] if report.parent.name == "reports" else []
    assert requests == [report.as_uri(), *runs]
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert view.evaluate("document.querySelectorAll('script').length") == 2 * len(runs)
    assert distinct_lines(view.screenshot(), width) > 200
    outside = """() => [...document.querySelectorAll('svg.chart')].flatMap(svg => {
      const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('text')].filter(text => {
        const r = text.getBoundingClientRect();
        return r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1;
      }).map(text => svg.getAttribute('aria-label') + ': ' + text.textContent);
    })"""
    assert view.evaluate(outside) == []
    view.close()


def test_the_page_tells_what_the_runs_on_this_machine_took(browser, report):
    view = browser.new_page()
    view.goto(report.as_uri())
    cells = "[...document.querySelectorAll('[data-run]')].map(cell => [cell.dataset.shown, cell.textContent])"
    told = view.evaluate(cells)
    space = "\u00a0"
    assert ["duration", f"3{space}min 04{space}s"] in told
    assert ["quantity", f"425{space}k"] in told
    assert ["count", "2,311"] in told
    assert ["gibibytes", f"1.31{space}GiB"] in told
    assert ["machine", f"cpu, float32, sdpa, 2{space}threads"] in told
    elsewhere = report.parent / "elsewhere" / "deeper" / "index.html"
    elsewhere.parent.mkdir(parents=True)
    shutil.copy(report, elsewhere)
    view.goto(elsewhere.as_uri())
    assert {text for _, text in view.evaluate(cells)} == {"\u2013"}, "no run is known there"
    view.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser, report, scheme):
    view = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    view.goto(report.as_uri())
    pairs = [
        ("--ink", "--surface"),
        ("--muted", "--surface"),
        ("--link", "--surface"),
        ("--good", "--good-back"),
        ("--bad", "--bad-back"),
        ("--warn", "--warn-back"),
    ]
    values = view.evaluate(
        "names => names.map(n => getComputedStyle(document.documentElement).getPropertyValue(n).trim())",
        [n for p in pairs for n in p],
    )
    for (front, back), shown in zip(pairs, zip(values[::2], values[1::2], strict=True), strict=True):
        assert contrast(*shown) >= 4.5, (scheme, front, back)
    view.close()


def test_it_prints(browser, report):
    view = browser.new_page(color_scheme="dark")
    view.goto(report.as_uri())
    assert view.pdf(format="A4", print_background=True).startswith(b"%PDF")
    view.emulate_media(media="print")
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    view.close()


def distinct_lines(png: bytes, width: int) -> int:
    """Number of different scan lines of an RGB picture; a blank one has two at most (the first is coded otherwise)."""
    data, at = b"", 8
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    raw, stride = zlib.decompress(data), 1 + 3 * width
    return len({raw[i : i + stride] for i in range(0, len(raw), stride)})


def contrast(first: str, second: str) -> float:
    """Contrast of two #rrggbb colours by WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
