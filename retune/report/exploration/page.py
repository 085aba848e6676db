"""The page of an exploration: one file without scripts or outside requests, in the style of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retune.data.near_duplicates import ALIKE
from retune.report import charts
from retune.report.charts import Line, Point
from retune.report.figures import Figure
from retune.report.jinja import environment
from retune.report.words import count

HERE = Path(__file__).parent
DRAWN = ("train", "test")  # more outlines over each other can't be read; the tables have every split
SORTED = 12  # so many targets keep their order; more are sorted by their training rows


def render(task: str, found: dict[str, Any]) -> str:
    """The page of what `retune.report.exploration.explore` found, the same text for the same inputs."""
    return environment(HERE).get_template("page.html").render(
        task=task,
        found=found,
        alike=f"{ALIKE:g}",
        targets=targets(found),
        scores=[(name, part, _histogram(name, part, "Score")) for name, part in found["scores"].items()],
        characters=[(name, part, _histogram(name, part, "Characters")) for name, part in found["characters"].items()],
        readers=[(part, _tokens(part)) for part in found["tokens"]],
    )  # fmt: skip


def targets(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each target with its rows by split, and by split the length of a bar: its share over the greatest share."""
    there = {name for counts in found["targets"].values() for name in counts}
    names = [*found["labels"], *(name for name in found["order"] if name in there)]
    names += sorted(there - set(names))
    train = found["targets"]["train"]
    if len(names) > SORTED and not found["order"]:
        names.sort(key=lambda name: -train.get(name, {}).get("rows", 0))
    nothing = {"rows": 0, "augmented": 0}
    shares = {
        split: {name: counts.get(name, nothing)["rows"] / max(found["rows"][split], 1) for name in names}
        for split, counts in found["targets"].items()
    }
    most = max((value for part in shares.values() for value in part.values()), default=0) or 1
    return [
        {
            "name": name,
            "augmented": train.get(name, nothing)["augmented"],
            "splits": {
                split: {
                    "rows": counts.get(name, nothing)["rows"],
                    "share": shares[split][name],
                    "bar": round(100 * shares[split][name] / most, 1),
                }
                for split, counts in found["targets"].items()
            },
        }
        for name in names
    ]


def _histogram(title: str, part: dict[str, Any], unit: str, limit: int | None = None) -> Figure:
    """Outlines of the histograms of train and test; a vertical line at the limit where it lies in the picture."""
    histogram = part["histogram"]
    start, width = histogram["start"], histogram["width"]
    styles = [charts.series_style(i, reference=False) for i in range(len(DRAWN))]
    lines = [
        Line(_outline([100 * value for value in histogram["shares"][name]], start, width), style)
        for name, style in zip(DRAWN, styles, strict=True)
    ]
    end = start + width * len(histogram["shares"][DRAWN[0]])
    rule = limit if limit is not None and start <= limit <= end else None
    svg = charts.curves(lines, f"{unit} of {title}", unit, "% of the rows", unit=False, height=200, rule=rule)
    caption = f"{count(width)} a bin; the last bin also holds what is longer." if width > 1 else ""
    if limit is not None:
        where = "dashed line" if rule is not None else "beyond the picture"
        caption = f"Limit: {count(limit)} ({where}). {caption}"
    return Figure(title, svg, caption.strip(), list(zip(DRAWN, styles, strict=True)))


def _tokens(reader: dict[str, Any]) -> Figure:
    return _histogram(", ".join(reader["models"]), reader, "Tokens", reader["max_length"])


def _outline(shares: list[float], start: int, width: int) -> list[Point]:
    """The upper edge of a histogram from left to right, with its ends on the axis."""
    points: list[Point] = [(start, 0.0)]
    for place, value in enumerate(shares):
        points += [(start + width * place, value), (start + width * (place + 1), value)]
    return [*points, (start + width * len(shares), 0.0)]
