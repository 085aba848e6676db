"""The report's charts: Vega-Lite specifications (altair) drawn to inline SVG (vl-convert).

Every size and position is fixed here (no automatic layout, no legend), so the bytes don't depend on the fonts of the
machine. Colours are written as tokens that become CSS variables of the page, so one drawing serves light and dark.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

WIDTH, SMALL = 440, 268
"""Widths of a drawing, margins included; the page shrinks it on a narrow screen."""

SERIES, NEUTRALS = 8, 2
"""Distinct colours of models: --s0 to --s7 and --n0, --n1 in style.css."""

INK, MUTED, GRID, SURFACE, NEUTRAL = "#00ff01", "#00ff02", "#00ff03", "#00ff04", "#00ff20"
_NAMED = {INK: "ink", MUTED: "muted", GRID: "grid", SURFACE: "surface"}
_SERIES = {f"#00ff1{i}": f"s{i}" for i in range(SERIES)} | {f"#00ff2{i}": f"n{i}" for i in range(NEUTRALS)}
_VARIABLES = {token: f"var(--{name})" for token, name in (_NAMED | _SERIES).items()}

Point = tuple[float, float]
Row = dict[str, Any]


@dataclass(frozen=True)
class Style:
    """How one series is drawn in every chart: a token colour, a dash pattern (`()` is a solid line) and a width."""

    color: str
    dash: tuple[int, ...] = ()
    width: float = 2.0

    @property
    def css(self) -> str:
        """The colour as CSS."""
        return _VARIABLES[self.color]


@dataclass(frozen=True)
class Line:
    """One series: points in drawing order, the areas of their dots (none: no dots), and points marked on it."""

    points: list[Point]
    style: Style
    sizes: tuple[float, ...] = ()
    marks: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Interval:
    """One row of a forest plot; `text` stands at its right end."""

    name: str
    value: float
    low: float
    high: float
    style: Style
    text: str


def series_style(index: int, reference: bool) -> Style:
    """The style of the `index`-th model; a reference (baseline, untuned) is neutral and dashed, others are coloured."""
    if reference:
        return Style(f"#00ff2{index % NEUTRALS}", ((6, 3), (2, 2), (8, 3, 2, 3))[index % 3])
    return Style(f"#00ff1{index % SERIES}", ((), (7, 2), (3, 2))[index // SERIES % 3])


def forest(rows: list[Interval], label: str, reference: float | None = None) -> str:
    """Values with their intervals, one row each, the name above its line; `reference` is a dotted vertical line."""
    import altair as alt

    step, plot = 42, WIDTH - 16
    margins = {"left": 8, "right": 8, "top": 2, "bottom": 26}
    low, high = limits([r.low for r in rows] + [r.high for r in rows])
    x_scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    x_axis = _axis(alt, low, high, titleX=0, titleY=0, title=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[step * len(rows), 0], nice=False), axis=None)
    data: dict[str, list[Row]] = {
        "rows": [
            {"x": r.value, "low": r.low, "high": r.high, "y": step * i + 30, "color": r.style.color}
            | {"name": r.name, "text": r.text}
            for i, r in enumerate(rows)
        ],
        "rule": [{"x": reference}] if reference is not None and low <= reference <= high else [],
    }
    base = alt.Chart(alt.NamedData("rows"))
    colored = base.encode(y=y, color=alt.Color("color:N", scale=None))
    layers = [
        _rule(alt, (1, 3), x_scale),
        colored.mark_rule(strokeWidth=2.5, opacity=0.85).encode(
            x=alt.X("low:Q", scale=x_scale, axis=x_axis), x2="high"
        ),
    ]
    for end in ("low", "high"):
        cap = colored.mark_point(shape="stroke", angle=90, size=70, strokeWidth=2, opacity=0.85)
        layers.append(cap.encode(x=alt.X(f"{end}:Q", scale=x_scale)))
    dot = base.mark_point(size=64, filled=True, stroke=SURFACE, strokeWidth=1.5, opacity=1)
    layers.append(dot.encode(x=alt.X("x:Q", scale=x_scale), y=y, fill=alt.Fill("color:N", scale=None)))
    for field, at, align in (("name", 0, "left"), ("text", plot, "right")):
        words = base.mark_text(align=align, dy=-15, color=INK, fontSize=12)
        layers.append(words.encode(x=alt.value(at), y=y, text=alt.Text(f"{field}:N")))
    return _draw(alt, layers, data, plot, step * len(rows), margins, label)


def curves(
    lines: list[Line],
    label: str,
    x_title: str,
    y_title: str,
    *,
    unit: bool = True,
    width: int = WIDTH,
    height: int = 300,
    reference: list[Point] | None = None,
    rule: float | None = None,
) -> str:
    """Lines over common axes: both from 0 to 1 if `unit`, else as wide as the data.

    `reference` is a dotted line drawn below the others (chance, perfect calibration), `rule` a vertical one (a step).
    """
    import altair as alt

    margins = {"left": 48, "right": 12, "top": 8, "bottom": 40}
    plot = width - margins["left"] - margins["right"]
    points = [p for line in lines for p in line.points]
    x_low, x_high = (0.0, 1.0) if unit else extent([p[0] for p in points])
    y_low, y_high = (0.0, 1.0) if unit else limits([p[1] for p in points])
    x_scale = alt.Scale(domain=[x_low, x_high], nice=False, zero=False)
    y_scale = alt.Scale(domain=[y_low, y_high], nice=False, zero=False)
    x_axis = _axis(alt, x_low, x_high, title=x_title, titleX=plot / 2, titleY=24)
    y_axis = _axis(alt, y_low, y_high, title=y_title, titleX=-36, titleY=height / 2, titleAngle=-90)
    x, y = alt.X("x:Q", scale=x_scale, axis=x_axis), alt.Y("y:Q", scale=y_scale, axis=y_axis)

    chance = [Line(reference, Style(MUTED, (1, 3), 1.2))] if reference else []
    data: dict[str, list[Row]] = {"rule": [] if rule is None else [{"x": rule}], "lines": [], "dots": []}
    for series, line in enumerate([*chance, *lines]):
        style = {"color": line.style.color, "dash": list(line.style.dash), "width": line.style.width}
        data["lines"] += [
            {"x": px, "y": py, "i": i, "series": series, **style} for i, (px, py) in enumerate(line.points)
        ]
        dots = list(zip(line.points, line.sizes, strict=True)) if line.sizes else []
        dots += [(point, 84.0) for point in line.marks]
        data["dots"] += [{"x": px, "y": py, "size": size, "color": line.style.color} for (px, py), size in dots]

    drawn = alt.Chart(alt.NamedData("lines")).mark_line(strokeJoin="round")
    dot = alt.Chart(alt.NamedData("dots")).mark_point(filled=True, stroke=SURFACE, strokeWidth=1, opacity=1)
    layers = [
        drawn.encode(
            x=x, y=y, order="i:Q", detail="series:N", color=alt.Color("color:N", scale=None),
            strokeDash=alt.StrokeDash("dash:N", scale=None), strokeWidth=alt.StrokeWidth("width:Q", scale=None),
        ),
        _rule(alt, (4, 3), x_scale),
        dot.encode(x=x, y=y, size=alt.Size("size:Q", scale=None), fill=alt.Fill("color:N", scale=None)),
    ]  # fmt: skip
    return _draw(alt, layers, data, plot, height, margins, label)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten apart) inside `[low, high]`, about `count` of them."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next((m * power for m in (1, 2, 2.5, 5) if span / (m * power) <= count), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def extent(values: list[float]) -> Point:
    """Least and greatest value; half a unit to both sides where they are the same."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def limits(values: list[float]) -> Point:
    """The extent, widened by a little air."""
    low, high = extent(values)
    air = 0.06 * (high - low)
    return round(low - air, 6), round(high + air, 6)


def _rule(alt: Any, dash: tuple[int, ...], scale: alt.Scale) -> alt.Chart:
    mark = alt.Chart(alt.NamedData("rule")).mark_rule(color=MUTED, strokeDash=list(dash), strokeWidth=1.2)
    return mark.encode(x=alt.X("x:Q", scale=scale))


def _axis(alt: Any, low: float, high: float, **more: Any) -> alt.Axis:
    return alt.Axis(
        values=ticks(low, high), format="~s" if high >= 10000 else ".4~g",
        labelOverlap=False, labelBound=False, labelFlush=False, labelColor=MUTED, labelFontSize=11, labelPadding=5,
        titleColor=MUTED, titleFontSize=11.5, titleFontWeight="normal", titleAnchor="middle",
        gridColor=GRID, tickColor=GRID, domainColor=GRID, tickSize=4, **more,
    )  # fmt: skip


def _draw(
    alt: Any,
    layers: list[Any],
    data: dict[str, list[Row]],
    width: int,
    height: int,
    margins: dict[str, int],
    label: str,
) -> str:
    """The layers that have data as an `<svg>` element: named by `label`, scalable, coloured by CSS variables."""
    import vl_convert

    used = [layer for layer in layers if data[layer.data.name]]
    chart = alt.layer(*used).properties(
        width=width, height=height, padding=margins, autosize=alt.AutoSizeParams(type="none"),
    ).configure(aria=False).configure_view(stroke=None)  # fmt: skip
    specification = chart.to_dict() | {"datasets": data}  # given last: altair would copy and check every value
    drawn = vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])
    full = width + margins["left"] + margins["right"]
    body = drawn[drawn.index("<g") : drawn.rindex("</svg>")]
    body = re.sub(r'<path class="(?:background|foreground)"[^>]*/>', "", body)
    body = re.sub(r' (?:class|role|aria-[a-z]+|pointer-events|font-family)="[^"]*"', "", body)
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"\d+\.\d{3,}", _hundredths, tag[0]), body)
    body = re.sub(r'"(#00ff[0-9a-f]{2})"', lambda token: f'"{_VARIABLES[token[1]]}"', body)
    size = f'viewBox="0 0 {full} {height + margins["top"] + margins["bottom"]}" style="max-width: {full * 1.12:.0f}px"'
    return f'<svg class="chart" role="img" aria-label="{escape(label)}" {size}>{body}</svg>'


def _hundredths(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"
