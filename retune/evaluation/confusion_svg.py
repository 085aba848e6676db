"""A confusion matrix as an SVG: one square a cell, darker for a larger share of its label's rows.

Drawn as text, since only cells with rows are drawn, and thousands of empty ones would make the page heavy. Labels
stand in full beside the rows; columns carry the numbers of the labels, or the labels themselves where all are short.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

FONT = "'Noto Sans SC','Noto Sans CJK SC','PingFang SC','Microsoft YaHei','WenQuanYi Micro Hei',sans-serif"
LIGHT = {"ink": "#1c2230", "muted": "#636b7a", "grid": "#e3e6eb", "s2": "#2c8a57", "s4": "#c1433c"}
"""Colours of the picture that stands alone; in the page they are those of its style sheet."""

NUMBERED = 22  # pixels of a cell that can hold a number
EAST_ASIAN, LATIN = 12.0, 6.8  # widths of a character at the font size of the labels
LONGEST = 22  # characters of a label that are shown
SHORT = 3  # characters of a label that fits above a column


def document(confused: pl.DataFrame, labels: list[str]) -> str:
    """The matrix as a file of its own, on white, with fixed colours."""
    drawn = matrix(confused, labels)
    for name, colour in LIGHT.items():
        drawn = drawn.replace(f"var(--{name})", colour)
    drawn = drawn.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" font-family="{FONT}" ', 1)
    return drawn.replace(">", '><rect width="100%" height="100%" fill="#fff"/>', 1) + "\n"


def matrix(confused: pl.DataFrame, labels: list[str]) -> str:
    """The matrix as an `<svg>` element; `confused` has the columns label, predicted (null: no answer), rows, share."""
    unread = confused["predicted"].null_count() > 0
    count, across = len(labels), len(labels) + unread
    cell = 26 if count <= 12 else NUMBERED if count <= 40 else 11
    size = 12 if cell >= 14 else 9
    place = {label: number for number, label in enumerate(labels)}
    brief = all(len(label) <= SHORT for label in labels)
    shown = labels if brief else [f"{number}  {_short(label)}" for number, label in enumerate(labels)]
    legend = "rows: gold; columns: decided" if brief else "rows: gold label; columns: decided label, by number"
    left = max(_width(text) for text in shown) * size / 12 + 10
    top, right, bottom = 22, 12, 34
    width = max(left + across * cell + right, left + 6.2 * len(legend))
    height = top + count * cell + bottom
    parts = [
        f'<svg role="img" aria-label="Confusion matrix" class="chart" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" style="max-width: {width * 1.05:.0f}px">'
    ]
    for number, text in enumerate(shown):
        y = top + (number + 0.5) * cell
        parts.append(_text(left - 6, y, text, size, "end", "ink"))
        x = left + (number + 0.5) * cell
        if cell >= 14 or number % 5 == 0:
            head = labels[number] if brief else str(number)
            parts.append(_text(x, top - 8, head, size - 1, "middle", "muted"))
        parts.append(_line(left, y + cell / 2, left + across * cell, y + cell / 2))
    if unread:
        parts.append(_text(left + (count + 0.5) * cell, top - 8, "–", size, "middle", "muted"))
    for label, predicted, rows, share in confused.select("label", "predicted", "rows", "share").iter_rows():
        row, column = place[label], count if predicted is None else place[predicted]
        x, y = left + column * cell, top + row * cell
        told = escape(f"{label} → {predicted or 'no answer'}: {rows} rows, {100 * share:.0f} %")
        colour = "s2" if predicted == label else "s4"
        parts.append(
            f'<rect x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{cell - 1}" height="{cell - 1}" rx="1.5" '
            f'fill="var(--{colour})" fill-opacity="{0.12 + 0.78 * share:.2f}"><title>{told}</title></rect>'
        )
        if cell >= NUMBERED:
            ink = "#fff" if share > 0.55 else "var(--ink)"
            parts.append(
                f'<text x="{x + cell / 2:.1f}" y="{y + cell / 2 + 3.6:.1f}" font-size="10" text-anchor="middle" '
                f'fill="{ink}" style="stroke:none" pointer-events="none">{rows}</text>'
            )
    parts.append(_text(left, height - 12, legend, 11, "start", "muted"))
    return "".join(parts) + "</svg>"


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def _width(text: str) -> float:
    return sum(EAST_ASIAN if ord(character) > 0x2E7F else LATIN for character in text)


def _text(x: float, y: float, text: str, size: float, anchor: str, colour: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y + size * 0.36:.1f}" font-size="{size:g}" text-anchor="{anchor}" '
        f'fill="var(--{colour})">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}H{x2:.1f}" stroke="var(--grid)" stroke-width="0.6"/>'
