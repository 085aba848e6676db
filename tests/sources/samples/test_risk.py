"""The sample corpus of `risk`: scores that follow from the figures of the profile, reasons that cite them."""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from retune.errors import RetuneError
from retune.sources.samples.risk import chinese, generate, write

RUBRIC = {  # indicator -> bounds of 1 | 2 | 3 | 4 | 5 points; falling bounds: less is better
    "competitiveness": {"毛利率": (15, 25, 35, 45), "续约率": (60, 70, 80, 90)},
    "innovation": {"研发费用占比": (2, 4, 7, 11), "发明专利": (10, 30, 60, 120)},
    "diversity": {"业务线": (2, 3, 4, 5), "最大业务占比": (85, 70, 55, 40)},
    "sales_performance": {"营收增速": (0, 8, 16, 28), "目标完成率": (80, 92, 100, 110)},
    "market_position": {"市场占有率": (3, 8, 15, 25), "行业排名": (13, 7, 4, 2)},
    "financial_health": {"资产负债率": (75, 62, 50, 35), "流动比率": (0.9, 1.2, 1.6, 2.2)},
}
TEXT = dict(zip(RUBRIC, ["竞争力", "创新性", "多元化", "销售表现", "市场地位", "财务健康"], strict=True))
PROMPT = yaml.safe_load(Path("prompts/risk-rubric.yaml").read_text(encoding="utf-8"))
CHARACTERS = "零一二三四五六七八九"


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str, dict]]:
    return generate(42, None)


def number(text: str) -> float:
    """A figure in digits or in Chinese characters, by another way than the generator's."""
    if found := re.match(r"(?:百分之|第)?(-?\d+(?:\.\d+)?)", text):
        return float(found[1])
    (characters,) = re.match(r"(?:百分之|第)?([零一二三四五六七八九十百]+)", text).groups()
    total, digit = 0, 0
    for character in characters:
        if character in "十百":
            total, digit = total + (digit or 1) * (10 if character == "十" else 100), 0
        else:
            digit = CHARACTERS.index(character)
    return total + digit


def points(text: str, dimension: str) -> int:
    """The points of a profile by the rubric: the first figure behind each indicator's name."""
    total = 0
    for name, bounds in RUBRIC[dimension].items():
        (behind,) = re.findall(rf"{name}[一-鿿]{{0,6}}?(-?[0-9.]+|(?:百分之|第)?[零一二三四五六七八九十百]+)", text)
        figure = number(behind)
        rising = bounds[0] < bounds[-1]
        total += 1 + sum(figure >= bound if rising else figure < bound for bound in bounds)
    return total


@pytest.mark.parametrize("value", [0, 1, 9, 10, 12, 20, 57, 100, 105, 110, 112, 259])
def test_chinese_numbers_are_read_as_they_were_written(value):
    assert number(chinese(value)) == value


def test_a_score_is_the_points_of_the_rubric_and_one_more_or_less_at_times(rows):
    differences = [row["score"] - points(row["company_info"], dimension) for _, dimension, row in rows]
    assert set(differences) == {-1, 0, 1}
    assert 0.1 < np.mean(np.abs(differences)) < 0.3


def test_it_has_180_companies_in_six_dimensions_each_in_one_folder(rows):
    assert len(rows) == 1080
    folders, dimensions = defaultdict(set), defaultdict(set)
    for folder, dimension, row in rows:
        folders[row["company"]].add(folder)
        dimensions[row["company"]].add(dimension)
    assert len(folders) == 180
    assert all(len(found) == 1 for found in folders.values())
    assert all(found == set(RUBRIC) for found in dimensions.values())
    counts = Counter(next(iter(found)) for found in folders.values())
    assert counts["train"] > 100
    assert counts["eval"] > 15
    assert counts["test"] > 40
    assert len({row["id"] for *_, row in rows}) == len(rows)


def test_profiles_have_250_to_350_characters_and_think_and_reason_are_short(rows):
    assert all(250 <= len(row["company_info"]) <= 350 for *_, row in rows)
    assert len({row["company_info"] for *_, row in rows}) == 180
    assert max(len(row["think"]) for *_, row in rows) <= 90
    assert max(len(row["reason"]) for *_, row in rows) <= 50


def test_think_and_reason_cite_the_figures_of_the_profile(rows):
    for _, dimension, row in rows:
        figure = r"(\D+?)((?:百分之|第)?[-0-9.零一二三四五六七八九十百]+[^属即]{0,2})"
        cited = re.findall(figure + r"(?:即([^属]+))?属([^得]+)得([1-5])分", row["think"])
        assert len(cited) == 2
        assert sum(int(one) for *_, one in cited) == points(row["company_info"], dimension)
        for name, figure, digits, band, worth in cited:
            assert f"{band}得{worth}分" in PROMPT["dimensions"][dimension]
            assert not digits or number(digits) == number(figure)
            assert name.strip("，") in RUBRIC[dimension]
            assert figure in row["company_info"]
            assert figure in row["reason"]
        assert TEXT[dimension] in row["reason"]
        assert TEXT[dimension] in row["prompt"]


def test_scores_use_the_whole_range_and_dimensions_of_a_company_are_alike(rows):
    scores = np.array([row["score"] for *_, row in rows]).reshape(-1, 6)
    assert set(scores.flat) == set(range(1, 11))
    assert np.abs(scores - np.median(scores)).mean() > 1.5, "a constant is a poor guess"
    together = np.corrcoef(scores.T)[np.triu_indices(6, 1)]
    assert (together > 0.25).all()
    assert (together < 0.8).all()


def test_the_order_of_the_dimensions_and_the_form_of_figures_vary(rows):
    documents = {row["company_info"] for *_, row in rows}
    places = [document.index("毛利率") < document.index("资产负债率") for document in documents]
    assert 0.3 < np.mean(places) < 0.7
    forms = Counter(form for document in documents for form in ("百分之", "%", "件", "倍", "位，") if form in document)
    assert min(forms.values()) > 20


def test_the_files_are_one_for_each_folder_and_dimension(rows, tmp_path):
    write(tmp_path, 42, None)
    found = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.json"))
    assert found == sorted(Path(folder, f"{name}.json") for folder in ("train", "eval", "test") for name in RUBRIC)
    read = [
        (path.parts[0], path.stem, row)
        for path in found
        for row in json.loads((tmp_path / path).read_text(encoding="utf-8"))
    ]
    assert sorted(map(repr, read)) == sorted(map(repr, rows))


def test_the_seed_decides_the_rows_and_more_companies_change_none(rows):
    assert generate(42, 1080) == rows
    assert generate(43, None) != rows
    for size in (1, 8, 600):
        assert generate(42, size) == rows[:size]
    assert generate(42, 1500)[:1080] == rows


@pytest.mark.parametrize("size", [0, -1, 10**6])
def test_a_number_of_rows_that_does_not_exist_is_an_error(size, tmp_path):
    with pytest.raises(RetuneError, match=rf"rows is {size}, .* has \d+ rows; ask for 1 to \d+"):
        write(tmp_path, 42, size)
    assert not list(tmp_path.iterdir())
