"""What a sweep found, as a table for a terminal and as a page."""

from __future__ import annotations

import math
import shlex
from html import escape
from pathlib import Path
from typing import Any

from retune.report import curve_page
from retune.report.figures import Figure
from retune.sweep.search import Sweep
from retune.sweep.space import Dimension, overrides

WIDTH, HEIGHT, TOP = 640, 260, 40


def table(found: Sweep) -> str:
    """Every trial, the best first; what mattered; the best with its overrides; what its value is worth."""
    keys = [one.key for one in found.space]
    done = found.done
    rest = [one for one in found.trials if one.state != "done"]
    rows = [["trial", *keys, f"dev {found.metric}", "step", "seconds"]]
    rows += [
        [
            str(one.number),
            *(str(one.values[key]) for key in keys),
            one.state if one.value is None else f"{one.value:.4f}",
            "" if one.step is None else str(one.step),
            f"{one.seconds:.1f}",
        ]
        for one in [*done, *rest]
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"trial {one.number} failed: {one.said}" for one in rest]
    if found.importances:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in found.importances.items())
        lines += ["", f"what mattered (share of the spread of dev {found.metric}, PED-ANOVA): {shares}"]
    said = " ".join(f"-S {shlex.quote(one)}" for one in overrides(found.model, done[0].values))
    return "\n".join(
        [*lines, "", f"the best, trial {done[0].number}: {said}", worth(found), f"build it: {found.command()}"]
    )


def worth(found: Sweep) -> str:
    """What the value of the best is worth."""
    return (
        f"Its dev {found.metric} {found.done[0].value:.4f} is the best of {len(found.done)} on the same dev rows, so "
        "it is too good by some; no test row was read, and the test split tells once the best is built."
    )


def page(found: Sweep, out: Path) -> Path:
    """Write the page of the sweep to `out`, which is returned."""
    figure = Figure("Parallel coordinates: one line per trial, the best is the bold one", _parallel(found))
    seconds = sum(one.seconds for one in found.trials)
    note = f"{len(found.trials)} trials, {seconds:.0f} s of training. {worth(found)}"
    title = found.model if found.name == found.model else f"{found.name}: {found.model}"
    return curve_page.write(out, "Sweep", title, [figure], table(found), note=note)


def _parallel(found: Sweep) -> str:
    """One vertical axis for each key, and one for the metric, whose greater values are above."""
    values = [one.value or 0.0 for one in found.done]
    axes: list[tuple[str, Any]] = [(one.key, one) for one in found.space]
    step = (WIDTH - 120) / len(axes)
    drawn = []
    low, high = min(values), max(values)
    for place, name in enumerate([*(key for key, _ in axes), f"dev {found.metric}"]):
        x = 60 + place * step
        top, bottom = _ends(found.space[place]) if place < len(axes) else (f"{high:.4f}", f"{low:.4f}")
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - 30}" stroke="var(--grid)"/>')
        for y, text in ((14, name), (30, top), (HEIGHT - 12, bottom)):
            drawn.append(
                f'<text x="{x:.1f}" y="{y}" text-anchor="middle" font-size="11" fill="var(--ink)">{escape(text)}</text>'
            )
    for rank, one in reversed(list(enumerate(found.done))):
        heights = [_height(axis, one.values[key]) for key, axis in axes]
        heights.append(((one.value or 0.0) - low) / (high - low) if high > low else 0.5)
        points = " ".join(
            f"{60 + place * step:.1f},{HEIGHT - 30 - height * (HEIGHT - 30 - TOP):.1f}"
            for place, height in enumerate(heights)
        )
        style = 'stroke="var(--s0)" stroke-width="3"' if not rank else 'stroke="var(--muted)" stroke-width="1.2"'
        drawn.append(f'<polyline points="{points}" fill="none" {style}/>')
    label = f"Parallel coordinates of {len(values)} trials"
    return (
        f'<svg class="chart" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'style="max-width: {WIDTH * 1.12:.0f}px">{"".join(drawn)}</svg>'
    )


def _ends(one: Dimension) -> tuple[str, str]:
    """What stands above and below an axis."""
    return (str(one.choices[-1]), str(one.choices[0])) if one.choices else (f"{one.high:g}", f"{one.low:g}")


def _height(one: Dimension, value: Any) -> float:
    """Where a value stands on its axis, from 0 to 1."""
    if one.choices:
        return one.choices.index(value) / (len(one.choices) - 1)
    low, high, at = (math.log(v) if one.log else float(v) for v in (one.low, one.high, value))
    return (at - low) / (high - low)
