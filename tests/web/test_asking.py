"""One input: the numbers of the model's own methods, and everything that somebody wrote is text."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from retune.errors import RetuneError
from retune.web import asking
from retune.web.loaded import Loaded
from tests.support import web_project
from tests.support.web_project import DIMENSIONS, HOSTILE, LABELS


def ask(name: str, *texts: str, dimensions: list[str] | None = None, language: str = "en") -> asking.Shown:
    one = web_project.model(name)
    columns = [column for column in one.model.texts if column != "dimension"]
    return asking.ask(one, dict(zip(columns, texts, strict=True)), dimensions or [], language)


def plain(shown: asking.Shown) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", shown.html))


def test_a_pair_gets_the_models_label_probability_and_threshold() -> None:
    model = web_project.model("same").model
    for pair in (("花呗怎么还", "花呗怎么还钱"), ("借呗利息", "花呗额度"), ("余额宝", "花呗")):
        shown = ask("same", *pair)
        (row,) = [json.loads(line) for line in shown.lines.splitlines()]
        assert {key: row[key] for key in ("label", "probability")} == model.similar([pair])[0]
        assert shown.chance == row["prob_1"]
        ranked = re.findall(r'<span class="value">([\d.]+)', shown.html)
        assert ranked == sorted((f"{row[f'prob_{label}']:.4f}" for label in "01"), reverse=True)
        assert re.findall(r'<li class="chosen"><span class="name">(.)', shown.html) == [row["label"]]


def test_all_labels_of_a_text_are_shown_the_largest_first() -> None:
    shown = ask("topics", "帮我取消套餐")
    row = json.loads(shown.lines)
    assert {key: row[key] for key in ("label", "probability")} == web_project.model("topics").model.classify(
        ["帮我取消套餐"]
    )[0]
    names = [unescape(name).strip() for name in re.findall(r'<span class="name">(.*?)(?: <span|</span)', shown.html)]
    assert names == sorted(LABELS, key=lambda label: -row[f"prob_{label}"])
    assert shown.html.count("<details>") == 1, "the last two are folded"
    assert "taken for this answer" in plain(shown)


def test_a_model_without_a_record_shows_the_next_labels_by_probability() -> None:
    shown = ask("intent", "帮我取消套餐")
    assert "No calibration or test predictions" in plain(shown)
    row = json.loads(shown.lines)
    chances = {key.removeprefix("prob_"): value for key, value in row.items() if key.startswith("prob_")}
    del chances[row["label"]]
    beside = re.findall(r"<li>([^<]+) \(([\d.]+)\)", shown.html)
    assert beside == [(name, f"{chances[name]:.4f}") for name in sorted(chances, key=lambda name: -chances[name])]
    assert len(beside) > 1


def test_scores_and_ranks_are_those_of_score_and_rerank() -> None:
    lines = [json.loads(line) for line in ask("scores", "花呗", dimensions=DIMENSIONS[::-1]).lines.splitlines()]
    found = web_project.model("scores").model.score("花呗")
    assert [line["dimension"] for line in lines] == DIMENSIONS, "in the model's order"
    assert {line.pop("dimension"): line for line in lines} == found
    documents = ["借呗的怎么开通", "花呗的怎么还款", "余额宝"]
    shown = ask("ranks", "花呗怎么还款", "\n".join(["", *documents, " "]))
    lines = [json.loads(line) for line in shown.lines.splitlines()]
    assert [line.pop("rank") for line in lines] == [1, 2, 3]
    assert lines == web_project.model("ranks").model.rerank("花呗怎么还款", documents)


@pytest.mark.parametrize(
    ("name", "texts"), [("ranks", ("花呗", HOSTILE)), ("thinker", (HOSTILE, "花呗")), ("topics", (HOSTILE,))]
)
def test_no_text_of_anybody_is_html(name: str, texts: tuple[str, ...]) -> None:
    shown = ask(name, *texts)
    assert "<img" not in shown.html
    assert "<script" not in shown.html
    assert "<b>办理" not in shown.html
    assert (HOSTILE in plain(shown)) == (name != "topics")
    assert "成长<i>" not in ask("scores", "花呗", dimensions=DIMENSIONS).html


def test_reasoning_is_folded_with_the_label_that_was_written() -> None:
    html = ask("thinker", "花呗", "借呗", language="zh").html
    assert re.search(r"<details><summary>推理过程</summary>.*模型写出的答案</b> 0</p></details>", html, re.DOTALL)


def test_the_slider_decides_as_the_model_does_at_its_own_threshold() -> None:
    one = web_project.model("same")
    one = Loaded(replace(one.model, fitted={**one.model.fitted, "threshold": 0.41237}), one.seen, one.calibration)
    own = float(one.threshold or 0)
    cells = re.compile(r"<td>([^<]+)</td>")
    for chance in (own, own - 1e-9, own + 1e-9):
        (label, precision, _) = cells.findall(asking.threshold(one, chance, asking.resting(one), "en"))
        assert label == ("1" if chance >= own else "0")
        assert precision != "–"
    found = cells.findall(asking.threshold(one, 0.42, 0.43, "en"))
    assert (found[0], found[3]) == ("1", "0")
    assert "Ask first" in asking.threshold(one, None, 0.3, "en")
    assert "no precision" in asking.threshold(web_project.model("thinker"), 0.4, 0.41, "en")


def test_what_cannot_be_asked_is_said_in_a_sentence() -> None:
    for name, texts, language, said in (
        ("same", ("花呗", " "), "en", "Second text is empty: write something there."),
        ("same", ("花呗", " "), "zh", "“第二段文本”为空，请填写。"),
        ("ranks", ("花呗", "x\n" * 257), "en", "There are 257 documents, more than the 256"),
        ("topics", ("长" * 100_001,), "en", "Text has 100,001 characters, more than the 100,000"),
        ("scores", ("花呗",), "en", "Choose at least one dimension."),
    ):
        with pytest.raises(RetuneError, match=re.escape(said)):
            ask(name, *texts, language=language)


def test_a_model_is_asked_by_one_request_at_a_time() -> None:
    asked, most = [], []

    class Slow:
        def predict(self, rows: Any) -> Any:
            asked.append(1)
            most.append(len(asked))
            time.sleep(0.01)
            asked.pop()
            return same.model.predictor.predict(rows)

    same = web_project.model("same")
    one = Loaded(replace(same.model, predictor=Slow()))
    texts = {"text_a": "花呗", "text_b": "借呗"}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: asking.ask(one, texts, [], "en").chance, range(16)))
    assert set(found) == {asking.ask(same, texts, [], "en").chance}
    assert set(most) == {1}
