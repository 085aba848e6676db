"""The page in a real browser: typed and answered, uploaded and downloaded, on a telephone, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retune.web.asking import STEP
from tests.support import web_project
from tests.support.command_line import run
from tests.support.web_project import DIMENSIONS, HOSTILE

pytestmark = pytest.mark.slow

NAMES = ("same", "thinker", "topics", "scores", "ranks")
FORMS = {"same": 0, "thinker": 0, "topics": 1, "scores": 2, "ranks": 3}
TEXTS = {
    "same": ("花呗怎么还", "花呗怎么还钱"),
    "thinker": (HOSTILE, "花呗"),
    "topics": (f"帮我取消套餐{HOSTILE}",),
    "scores": (HOSTILE,),
    "ranks": ("花呗怎么还款", f"借呗的怎么开通\n花呗的怎么还款\n{HOSTILE}"),
}


class View:
    """A page of a browser, and what it asked and complained about."""

    def __init__(self, browser: Any, url: str, width: int = 1200, locale: str = "en-US") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, locale=locale, accept_downloads=True)
        self.page.set_default_timeout(60_000)
        self.width = width
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector("#ask-0")

    def choose(self, name: str) -> None:
        if self.page.locator("#model input").input_value().split(" ")[0] != name:
            self.page.locator("#model input").click()
            self.page.get_by_role("option", name=re.compile(f"^{name} ")).click()
        self.page.wait_for_selector(f"#ask-{FORMS[name]}")

    def ask(self, name: str, *texts: str) -> Any:
        """What stands below the form of a model behind its answer."""
        self.choose(name)
        for box, text in zip(self.page.locator("textarea:visible").all(), texts, strict=True):
            box.fill(text)
        shown = self.page.locator(f"#answer-{FORMS[name]}")
        for before in shown.locator(".downloads, .failure").all():
            before.evaluate("one => one.classList.add('before')")
        self.page.click(f"#ask-{FORMS[name]}")
        shown.locator(".downloads:not(.before), .failure:not(.before)").wait_for()
        return shown

    def check(self, url: str) -> None:
        """Nothing is asked of anybody else, nothing complains, nothing ran, nothing is wider than the window."""
        assert {one[: len(url)] for one in self.asked} == {url}
        assert set(self.complaints) <= {"Method not implemented."}, "said by Gradio itself of every upload"
        assert "hacked" not in self.page.title()
        assert self.page.evaluate("document.querySelectorAll('.result img, .result script, .result i').length") == 0
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with web_project.page(*NAMES) as found:
        yield found


@pytest.fixture(scope="module")
def desktop(browser: Any, url: str) -> Iterator[View]:
    view = View(browser, url)
    yield view
    view.page.close()


@pytest.fixture(scope="module")
def telephone(browser: Any, url: str) -> Iterator[View]:
    view = View(browser, url, 390, "zh-CN")
    yield view
    view.page.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("window", ["desktop", "telephone"])
def test_every_kind_answers_with_all_texts_as_text(
    window: str, name: str, url: str, request: pytest.FixtureRequest
) -> None:
    view: View = request.getfixturevalue(window)
    shown = view.ask(name, *TEXTS[name])
    assert name in shown.inner_text()
    if name == "same":
        (found,) = web_project.model("same").model.similar([TEXTS["same"]])
        assert f"{found['probability']:.4f}" in shown.inner_text()
        assert shown.locator("li.chosen .name").inner_text().startswith(found["label"])
    if name == "thinker":
        assert HOSTILE not in shown.inner_text(), "it is folded"
        shown.locator("summary").click()
    said = {"thinker": [HOSTILE], "ranks": [HOSTILE], "topics": ["<b>办理</b>", "查询 ${1+1}"], "scores": DIMENSIONS}
    for text in said.get(name, ()):
        assert text in shown.inner_text()
    view.check(url)
    assert shown.get_attribute("aria-live") == "polite"
    boxes = view.page.locator("textarea:visible, input:visible")
    named = "e => e.labels?.length > 0 || e.ariaLabel || e.getAttribute('aria-labelledby')"
    assert all(one.evaluate(named) for one in boxes.all()), "a screen reader names each"


def test_the_language_is_the_browsers_and_is_changed_by_a_link(telephone: View, desktop: View, url: str) -> None:
    for view, language, title in ((desktop, "en", "Ask a model"), (telephone, "zh", "向模型提问")):
        assert view.page.url == f"{url}/{language}/"
        assert view.page.evaluate("document.documentElement.lang") == language
        assert view.page.get_by_role("heading", level=1).inner_text() == title
    link = desktop.page.get_by_role("link", name="中文")
    assert link.evaluate("link => link.href") == f"{url}/zh/"


def test_an_example_fills_the_texts_and_an_error_is_a_sentence(desktop: View, url: str) -> None:
    assert "Second text is empty" in desktop.ask("same", "花呗", " ").inner_text()
    desktop.page.get_by_label("An example of the project").click()
    desktop.page.get_by_role("option").first.click()
    filled = desktop.page.locator("textarea:visible").nth(1)
    desktop.page.wait_for_function("box => box.value.includes('test-')", arg=filled.element_handle())
    desktop.check(url)


def test_the_slider_answers_at_another_threshold(desktop: View) -> None:
    desktop.ask("same", *TEXTS["same"])
    one = web_project.model("same")
    (row,) = one.model.predict([dict(zip(one.model.texts, TEXTS["same"], strict=True))])
    effect = desktop.page.locator("#threshold-0")
    effect.get_by_text(f"At the model's own threshold, {one.threshold:.3f}").wait_for()
    for threshold in (row["prob_1"] - 2 * STEP, row["prob_1"] + 2 * STEP):
        box = desktop.page.locator("#slider-0 input[type=number]")
        box.fill(f"{threshold:.3f}")
        box.press("Enter")
        line = effect.locator("tr", has_text=re.compile(f"^At {threshold:.3f}"))
        line.wait_for()
        assert line.locator("td").first.inner_text() == ("1" if row["prob_1"] >= round(threshold, 3) else "0")


def test_a_file_is_uploaded_and_its_downloads_are_those_of_retune_predict(
    telephone: View, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "<b>new.csv"
    file.write_text("id,sentence1,sentence2\n" + "".join(f'{i},"花呗,{i}",{HOSTILE}\n' for i in range(30)) + "31,x,\n")
    page = telephone.page
    telephone.choose("same")
    page.get_by_role("tab", name="文件").first.click()
    page.locator("#upload-0 input[type=file]").set_input_files(file)
    page.locator("#upload-0").get_by_text("KB").wait_for()
    page.click("#predict-0")
    shown = page.locator("#predicted-0")
    shown.locator(".downloads").wait_for()
    assert "共 31 条记录，1 条没有预测" in shown.inner_text()
    for form in ("csv", "jsonl"):
        with page.expect_download() as waited:
            shown.get_by_text(f"下载 {form}").click()
        expected, _ = run(web_project.project(), "predict", "same", str(file), "--format", form)
        assert Path(waited.value.path()).read_text() == expected
    telephone.check(url)
