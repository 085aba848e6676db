"""What a sweep found, as a table for a terminal and as a page."""

from __future__ import annotations

import math
import shlex
from html import escape
from pathlib import Path
from typing import Any

from retune.report import charts, curve_page
from retune.report.figures import DOT, Figure
from retune.sweep.search import Sweep, figure
from retune.sweep.space import Dimension, overrides

WIDTH, HEIGHT, TOP = 640, 260, 40


def table(found: Sweep) -> str:
    """Every trial, the best first; what mattered; the best with its overrides; what its value is worth."""
    keys = [one.key for one in found.space]
    done = found.done
    rest = [one for one in found.trials if one.state != "done"]
    measured = f"dev {found.metric}" if not found.folds else f"{found.metric}, mean of {found.folds} folds"
    rows = [["trial", *keys, measured, "" if found.folds else "step", "seconds"]]
    rows += [
        [
            str(one.number),
            *(str(one.values[key]) for key in keys),
            one.state if one.value is None else figure(one),
            "" if one.step is None else str(one.step),
            f"{one.seconds:.1f}",
        ]
        for one in [*done, *rest]
    ]
    shown = [place for place in range(len(rows[0])) if rows[0][place]]
    widths = {place: max(len(row[place]) for row in rows) for place in shown}
    lines = ["  ".join(row[place].ljust(widths[place]) for place in shown).rstrip() for row in rows]
    lines += [f"trial {one.number} {one.state}: {one.said}" for one in rest]
    if found.importances:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in found.importances.items())
        lines += ["", f"what mattered (share of the spread of dev {found.metric}, PED-ANOVA): {shares}"]
    said = " ".join(f"-S {shlex.quote(one)}" for one in overrides(found.model, done[0].values))
    return "\n".join(
        [*lines, "", f"the best, trial {done[0].number}: {said}", worth(found), f"build it: {found.command()}"]
    )


def worth(found: Sweep) -> str:
    """What the value of the best is worth."""
    start = f"Its dev {found.metric} {figure(found.done[0])} is the best of {len(found.done)} on the same dev rows"
    unseen = "no test row was read, and the test split tells once the best is built."
    if found.folds:
        start = f"Its mean {found.metric} {figure(found.done[0])} is the best of {len(found.done)} on the same folds"
        best, *others = [one.value or 0.0 for one in found.done]
        near = sum(abs(one - best) <= (found.done[0].error or 0.0) for one in others)
        unseen = f"{near} of the others are within its ±, one standard error over folds; "
        unseen += "no row of dev, calibration or test was read."
    return f"{start}, so it is too good by some; {unseen}"


def page(found: Sweep, out: Path) -> Path:
    """Write the page of the sweep to `out`, which is returned."""
    figures = [Figure("Parallel coordinates: one line per trial, the best is the bold one", _parallel(found))]
    figures += [one for one in (_spread(found), _curves(found)) if one]
    seconds = sum(one.seconds for one in found.trials)
    pruned = sum(one.state == "pruned" for one in found.trials)
    ended = f", {pruned} of them ended early" if pruned else ""
    note = f"{len(found.trials)} trials{ended}, {seconds:.0f} s of training. {worth(found)}"
    title = found.model if found.name == found.model else f"{found.name}: {found.model}"
    return curve_page.write(out, "Sweep", title, figures, table(found), note=note)


def _spread(found: Sweep) -> Figure | None:
    """Each trial's mean over folds with one standard error; None without folds."""
    if not found.folds:
        return None
    rows = []
    for rank, one in enumerate(found.done):
        assert one.value is not None
        assert one.error is not None
        style = charts.series_style(0, reference=bool(rank))
        ends = one.value - one.error, one.value + one.error
        rows.append(charts.Interval(f"trial {one.number}", one.value, *ends, style, figure(one)))
    title = f"{found.metric}: mean of {found.folds} folds, and one standard error to both sides"
    return Figure(title, charts.forest(rows, title))


def _curves(found: Sweep) -> Figure | None:
    """What dev told while the trials ran, those that were ended dashed; None where that tells nothing more."""
    if found.folds and all(one.state != "pruned" for one in found.trials):
        return None
    ranked = [*(one for one in found.trials if one.state == "pruned"), *reversed(found.done)]
    lines = []
    for one in ranked:
        points = [(float(place), value) for place, value in one.curve]
        best = one is ranked[-1]
        style = charts.Style(
            charts.series_style(0, reference=not best).color,
            (3, 3) if one.state == "pruned" else (),
            2.5 if best else 1.2,
        )
        lines.append(charts.Line(points, style, (DOT,) * len(points)))
    if all(len(line.points) < 2 for line in lines):
        return None
    over = "Folds so far" if found.folds else "Step"
    name = f"mean {found.metric}" if found.folds else f"dev {found.metric}"
    title = f"{name[0].upper()}{name[1:]} while the trials ran; those that were ended are dashed"
    return Figure(title, charts.curves(lines, title, over, name, unit=False, height=230))


def _parallel(found: Sweep) -> str:
    """One vertical axis for each key, and one for the metric, whose greater values are above."""
    values = [one.value or 0.0 for one in found.done]
    axes: list[tuple[str, Any]] = [(one.key, one) for one in found.space]
    step = (WIDTH - 120) / len(axes)
    drawn = []
    low, high = min(values), max(values)
    for place, name in enumerate([*(key for key, _ in axes), f"{'mean' if found.folds else 'dev'} {found.metric}"]):
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
