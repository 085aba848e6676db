"""Sample corpus of the task `risk`: profiles of invented companies, scored in six dimensions by a rubric.

`risk.yaml` holds the rubric: a dimension has two indicators, each worth 1 to 5 points by the band that its figure falls
into, and its score is the sum of both, one more or less at times, as judges differ (`NOISE`). A company has a strength
of its own, so its dimensions correlate. Its profile says all twelve figures, in sentences of varied wording and order,
with figures in varied forms; `think` cites the figures, finds their bands and adds the points up, `reason` says it in
words.

The files are those of the reference system: train|eval|test/DIMENSION.json, each row with prompt, company_info, think,
score and reason; a company is in one of the three folders with all its dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from retune.errors import RetuneError

FRAMES = Path(__file__).with_suffix(".yaml")
COMPANIES = 180
FOLDERS = ("train", "train", "test", "train", "eval", "train", "test", "train")  # of the companies, in turn
NOISE = 0.2  # share of the scores that are one more or less than the points
STRENGTH, DIMENSION, INDICATOR = 0.9, 0.7, 0.6  # spread of the points by company, by dimension, by indicator
PROMPT = "请根据公司资料，对该公司的{text}进行评估，给出1到10分的评分和理由。"
DIGITS = "零一二三四五六七八九"

Row = dict[str, Any]
Rng = np.random.Generator


@dataclass(frozen=True)
class Figure:
    """An indicator of a company: its points by the rubric, its figure as the profile writes it, and what that is."""

    name: str
    points: int
    text: str
    digits: str | None  # the figure in digits, where the profile has it in Chinese characters
    band: str


def write(out: Path, seed: int, rows: int | None) -> None:
    """Write `FOLDER/DIMENSION.json` into `out`, `rows` rows in all (1,080 when None: 180 companies).

    Fewer rows are those of the first companies; only the last may be cut. The same for one seed. Raises RetuneError
    where there are not so many companies.
    """
    frames = yaml.safe_load(FRAMES.read_text(encoding="utf-8"))
    made = generate(seed, rows)
    for folder in sorted(set(FOLDERS)):
        (out / folder).mkdir()
        for dimension in frames["dimensions"]:
            part = [row for where, name, row in made if (where, name) == (folder, dimension)]
            text = json.dumps(part, ensure_ascii=False, indent=1)
            (out / folder / f"{dimension}.json").write_text(text + "\n", encoding="utf-8")


def generate(seed: int, rows: int | None) -> list[tuple[str, str, Row]]:
    """`rows` rows as (folder, dimension, {id, company, prompt, company_info, think, score, reason})."""
    frames = yaml.safe_load(FRAMES.read_text(encoding="utf-8"))
    names = [(first, sector) for first in frames["names"]["first"] for sector in frames["names"]["sectors"]]
    available, wanted = len(names) * len(frames["dimensions"]), rows
    if wanted is None:
        wanted = COMPANIES * len(frames["dimensions"])
    if not 1 <= wanted <= available:
        raise RetuneError(f"rows is {rows}, but the sample risk has {available} rows; ask for 1 to {available}")
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    made: list[tuple[str, str, Row]] = []
    for place in range(-(-wanted // len(frames["dimensions"]))):
        made += _rows_of(place, names[order[place]], frames, seed)
    return made[:wanted]


def _rows_of(place: int, named: tuple[str, str], frames: dict[str, Any], seed: int) -> list[tuple[str, str, Row]]:
    """The rows of one company: a profile, and a score for each dimension."""
    rng = np.random.default_rng([seed, place])  # of its own: more companies change none
    name, folder, strength = "".join(named), FOLDERS[place % len(FOLDERS)], rng.normal(0, STRENGTH)
    figures = {dimension: _figures(entry, strength, rng) for dimension, entry in frames["dimensions"].items()}
    document = _document(name, frames["names"]["sectors"][named[1]], figures, frames, rng)
    made = []
    for dimension, entry in frames["dimensions"].items():
        points = sum(figure.points for figure in figures[dimension])
        change = int(rng.choice([-1, 1])) if rng.random() < NOISE else 0
        score = min(max(points + change, 1), 10)
        row: Row = {
            "id": f"company-{place + 1}-{dimension}",
            "company": name,
            "prompt": PROMPT.format(text=entry["text"]),
            "company_info": document,
            "think": _think(figures[dimension], score - points),
            "score": score,
            "reason": _reason(figures[dimension], score, entry["text"], frames, rng),
        }
        made.append((folder, dimension, row))
    return made


def _figures(entry: dict[str, Any], strength: float, rng: Rng) -> list[Figure]:
    level = strength + rng.normal(0, DIMENSION)
    found = []
    for indicator in entry["indicators"]:
        points = int(np.clip(round(3 + level + rng.normal(0, INDICATOR)), 1, 5))
        found.append(_figure(indicator, points, rng))
    return found


def _figure(indicator: dict[str, Any], points: int, rng: Rng) -> Figure:
    """A figure of the band that is worth `points`, in one of its forms; Chinese characters for whole numbers."""
    low, high = indicator["bands"][points - 1]
    form = str(rng.choice(indicator["forms"]))
    step = 1 if "{c}" in form else indicator["step"]
    number = low + step * int(rng.integers(round((high - low) / step)))
    decimals = {1: 0, 0.1: 1, 0.01: 2}[step]
    text = form.format(x=f"{number:.{decimals}f}", c=chinese(round(number)))
    digits = indicator["forms"][0].format(x=round(number)) if "{c}" in form else None
    return Figure(indicator["name"], points, text, digits, indicator["said"][points - 1])


def chinese(number: int) -> str:
    """A whole number of at most three digits in Chinese characters: 105 is 一百零五."""
    hundreds, tens, ones = number // 100, number // 10 % 10, number % 10
    text = f"{DIGITS[hundreds]}百" if hundreds else ""
    if tens:
        text += ("" if tens == 1 and not hundreds else DIGITS[tens]) + "十"
    elif hundreds and ones:
        text += "零"
    return text + (DIGITS[ones] if ones or not number else "")


def _document(name: str, business: str, figures: dict[str, list[Figure]], frames: dict[str, Any], rng: Rng) -> str:
    """The profile: who the company is, a sentence for each dimension in any order, two beside the point."""
    opening = str(rng.choice(frames["opening"])).format(
        name=name, business=business, year=rng.integers(1992, 2019), city=rng.choice(frames["cities"]),
        staff=rng.integers(12, 480) * 10,
    )  # fmt: skip
    sentences = []
    for dimension in rng.permutation(list(figures)):
        first, second = figures[str(dimension)]
        wording = str(rng.choice(frames["dimensions"][str(dimension)]["sentences"]))
        sentences.append(wording.format(a=first.text, b=second.text))
    return "".join([opening, *sentences, *rng.permutation(frames["closing"])[:2].tolist()])


def _think(figures: Sequence[Figure], change: int) -> str:
    read = [figure.text + (f"即{figure.digits}" if figure.digits else "") for figure in figures]
    found = zip(figures, read, strict=True)
    points = "，".join(f"{figure.name}{text}属{figure.band}得{figure.points}分" for figure, text in found)
    judged = {-1: "，酌情下调1分", 0: "", 1: "，酌情上调1分"}[change]
    return f"{points}，合计{sum(figure.points for figure in figures)}分{judged}。"


def _reason(figures: Sequence[Figure], score: int, text: str, frames: dict[str, Any], rng: Rng) -> str:
    first, second = figures
    levels = frames["levels"]
    return str(rng.choice(frames["reasons"])).format(
        first=first.name, a=first.text, one=levels[first.points - 1],
        second=second.name, b=second.text, two=levels[second.points - 1],
        dimension=text, grade=frames["grades"][(score - 1) // 2],
    )  # fmt: skip
