"""Pieces of HTML: all texts go through `Markup.format`, which escapes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from retune.web.words import say

if TYPE_CHECKING:
    from retune.web.loaded import Loaded
    from retune.web.mistakes import Confusion, Measured

FIRST = 10
"""Labels that are shown before the others are folded."""


def joined(parts: Iterable[Any]) -> Markup:
    """The parts one behind another; a text is escaped."""
    return Markup("").join(parts)


def section(head: str, *parts: Any) -> Markup:
    """A part of the result under a heading."""
    return Markup("<section><h3>{}</h3>{}</section>").format(head, joined(parts))


def folded(head: str, *parts: Any) -> Markup:
    """A part that opens by a click."""
    return Markup("<details><summary>{}</summary>{}</details>").format(head, joined(parts))


def text(given: str) -> Markup:
    """Text with its lines."""
    return Markup('<p class="given">{}</p>').format(given)


def note(given: Any) -> Markup:
    """A remark."""
    return Markup('<p class="note">{}</p>').format(given)


def failure(language: str, message: str) -> Markup:
    """Why there is no answer, in a sentence."""
    return Markup('<div class="failure" role="alert"><strong>{}</strong> {}</div>').format(
        say(language, "error"), message
    )


def answer(language: str, name: str, value: str, beside: str = "") -> Markup:
    """The answer in large letters, and which model gave it."""
    shown = Markup(' <span class="beside">{}</span>').format(beside) if beside else ""
    head = Markup('<span class="by">{} · {}</span>').format(say(language, "answer"), name)
    return Markup('<p class="answer">{}<strong>{}</strong>{}</p>').format(head, value, shown)


def bars(language: str, chances: Mapping[str, float], chosen: str | None, glosses: Mapping[str, str]) -> Markup:
    """A bar for each label, the largest first and the chosen one marked; those behind the first ten are folded."""
    ranked = sorted(chances, key=lambda label: -chances[label])
    lines = [_bar(language, label, chances[label], label == chosen, glosses.get(label, "")) for label in ranked]
    more = Markup("")
    if len(lines) > FIRST:
        rest = Markup('<ol class="bars">{}</ol>').format(joined(lines[FIRST:]))
        more = folded(say(language, "more_labels", count=len(lines) - FIRST), rest)
    return Markup('<ol class="bars">{}</ol>{}').format(joined(lines[:FIRST]), more)


def _bar(language: str, label: str, chance: float, chosen: bool, gloss: str) -> Markup:
    mark = Markup(' <span class="mark">{}</span>').format(say(language, "chosen")) if chosen else ""
    beside = Markup(' <span class="beside">{}</span>').format(gloss) if gloss else ""
    return Markup(
        '<li class="{}"><span class="name">{}{}{}</span><span class="value">{}</span>'
        '<span class="track" aria-hidden="true"><span style="width:{}%"></span></span></li>'
    ).format("chosen" if chosen else "", label, beside, mark, f"{chance:.4f}", f"{100 * chance:.2f}")


def confusable(language: str, found: Confusion | None, runners: Sequence[tuple[str, float]]) -> Markup:
    """The labels that are mixed up with the answer, by the model's record, or else the next ones of this answer."""
    if found and found.others:
        head = say(language, "confused", rows=found.rows, called=found.called, right=found.right)
        lines = [say(language, "confused_one", there=one.there, back=one.back, other=one.other) for one in found.others]
    else:
        head = say(language, "never_confused", rows=found.rows) if found else say(language, "runners_up")
        lines = [f"{other} ({chance:.4f})" for other, chance in runners]
    items = joined(Markup("<li>{}</li>").format(line) for line in lines)
    return section(say(language, "confusable"), note(head), Markup("<ul>{}</ul>").format(items))


def threshold(
    language: str, one: Loaded, chance: float, at: float, measured: Sequence[tuple[float, Measured | None]]
) -> Markup:
    """What the slider's threshold answers beside the model's own: a scale, the label, precision and recall.

    `measured`: the model's own threshold and, where it is another one, that of the slider, each with what it gives.
    """
    own, (first, second) = float(one.threshold or 0), one.labels
    places = (("input", "this_input", chance), ("own", "own_threshold", own), ("slider", "your_threshold", at))
    marks = joined(
        Markup('<span class="{}" style="left:{}%"></span>').format(name, f"{100 * min(max(place, 0), 1):.2f}")
        for name, _, place in places
    )
    legend = joined(
        Markup('<li class="{}">{} <b>{}</b></li>').format(name, say(language, key), f"{place:.3f}")
        for name, key, place in places
    )
    head = joined(Markup("<th>{}</th>").format(say(language, name)) for name in ("answer", "precision", "recall"))
    lines = []
    for key, (value, found) in zip(("at_own", "at_chosen"), measured, strict=False):
        label = second if chance >= value else first
        shares = (found.precision, found.recall) if found else (None, None)
        cells = (label, *map(_share, shares))
        row = joined(Markup("<td>{}</td>").format(cell) for cell in cells)
        lines.append(Markup("<tr><th>{}</th>{}</tr>").format(say(language, key, value=f"{value:.3f}"), row))
    rows = next((found.rows for _, found in measured if found), None)
    said = say(language, "unmeasured") if rows is None else say(language, "measured", label=second, rows=rows)
    return Markup(
        '<div class="scale" aria-hidden="true">{}</div><ul class="legend">{}</ul>'
        "<table><thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table>{}"
    ).format(marks, legend, head, joined(lines), note(said))


def _share(found: float | None) -> str:
    return "–" if found is None else f"{found:.3f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], wide: bool = False) -> Markup:
    """A table; a wide one scrolls in its own box."""
    head = joined(Markup('<th scope="col">{}</th>').format(one) for one in heads)
    lines = joined(
        Markup("<tr>{}</tr>").format(joined(Markup("<td>{}</td>").format(cell) for cell in row)) for row in rows
    )
    whole = Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, lines)
    return Markup('<div class="wide" tabindex="0">{}</div>').format(whole) if wide else whole


def downloads(language: str, links: Mapping[str, str]) -> Markup:
    """Links to the result in its formats."""
    shown = joined(
        Markup('<a class="download" href="{}" download>{} {}</a>').format(link, say(language, "download"), form)
        for form, link in links.items()
    )
    return Markup('<p class="downloads">{} <span class="beside">{}</span></p>').format(shown, say(language, "kept"))
