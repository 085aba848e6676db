"""One input: what the model says of it, as the methods of `retune.inference.Model` do, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from retune.errors import RetuneError
from retune.web import fragments, mistakes
from retune.web.loaded import Loaded
from retune.web.results import as_lines
from retune.web.words import say

LONGEST = 100_000
"""Characters of a text."""
DOCUMENTS = 256
"""Documents that are ranked at a time."""
STEP = 0.001
"""Of the slider."""


@dataclass(frozen=True)
class Shown:
    """An answer: its HTML, its rows as JSON lines, and of two labels with a threshold the second's probability."""

    html: Markup
    lines: str
    chance: float | None = None


def ask(one: Loaded, texts: dict[str, str], dimensions: Sequence[str], language: str) -> Shown:
    """Ask a model about texts by their column. Raises `RetuneError` for an empty or too long one."""
    for name, text in texts.items():
        what = say(language, "documents" if name == "document" and one.kind == "ranking" else name)
        if not text.strip():
            raise RetuneError(say(language, "empty", what=what))
        if len(text) > LONGEST:
            raise RetuneError(say(language, "too_long", what=what, length=f"{len(text):,}", limit=f"{LONGEST:,}"))
    if one.kind == "ranking":
        return _ranked(one, texts, language)
    if one.kind == "scoring":
        return _scored(one, texts["document"], dimensions, language)
    return _labelled(one, texts, language)


def _labelled(one: Loaded, texts: dict[str, str], language: str) -> Shown:
    with one.alone() as model:
        (row,) = model.predict([texts])
    label, said = row.get("would_be", row["label"]), model.alignment(row)
    if label is None:
        parts = [fragments.note(say(language, "unread")), fragments.text(row.get("raw") or "")]
        return Shown(fragments.joined(parts), as_lines([row]))
    chances = {name: row[f"prob_{name}"] for name in one.labels}
    answers = model.spec.get("prompt", {}).get("answers", {})
    glosses = {name: gloss(one, name, answers, language) for name in one.labels}
    beside = (
        f"{label} " * bool(row.get("abstained"))
        + f"{row['probability']:.4f}"
        + (f" · {glosses[label]}" if glosses[label] else "")
    )
    parts = [
        fragments.answer(language, model.name, say(language, "unsure") if row.get("abstained") else label, beside),
        _kept_back(row, language),
        _cut(row, language),
        fragments.section(say(language, "probabilities"), fragments.bars(language, chances, label, glosses)),
        _thought(row, said["reasoning"], language),
    ]
    if len(one.labels) > 2:
        runners = sorted(
            ((name, chance) for name, chance in chances.items() if name != label), key=lambda pair: -pair[1]
        )
        found = None if one.seen is None else mistakes.confusion(one.seen, label)
        parts.append(fragments.confusable(language, found, runners[: mistakes.SHOWN]))
    chance = chances[one.labels[1]] if one.threshold is not None else None
    return Shown(fragments.joined(parts), as_lines([row]), chance)


def gloss(one: Loaded, label: str, answers: dict[str, str], language: str) -> str:
    """What a label means: its answer in the prompt, or what 0 and 1 are of pairs."""
    if (answer := answers.get(label)) and answer != label:
        return answer
    return say(language, f"pair_{label}") if one.kind == "pair" else ""


def threshold(one: Loaded, chance: float | None, at: float, language: str) -> Markup:
    """What the slider's threshold gives, for an input with `chance` of the second label; None before there is one."""
    if chance is None or one.threshold is None:
        return fragments.note(say(language, "threshold_none"))
    exact = one.threshold if abs(at - resting(one)) < STEP / 2 else at
    second = one.labels[1]
    measured = [
        (value, None if one.calibration is None else mistakes.measure(one.calibration, second, value))
        for value in dict.fromkeys((one.threshold, exact))
    ]
    return fragments.threshold(language, one, chance, exact, measured)


def resting(one: Loaded) -> float:
    """Where the slider stands for the model's own threshold."""
    return round(float(one.threshold or 0), 3)


def _scored(one: Loaded, document: str, dimensions: Sequence[str], language: str) -> Shown:
    wanted = [name for name in one.dimensions if name in dimensions]
    if not wanted:
        raise RetuneError(say(language, "no_dimension"))
    with one.alone() as model:
        rows = model.predict([{"document": document, "dimension": name} for name in wanted])
    low, high = one.labels[0], one.labels[-1]
    head = Markup('<p class="by">{} · {}</p>').format(say(language, "answer"), model.name)
    parts, kept = [head, _cut(rows[0], language)], []
    for name, row in zip(wanted, rows, strict=True):
        found = model.scored(row)
        kept.append({"dimension": name, **found})
        chances = {label: row[f"prob_{label}"] for label in one.labels if f"prob_{label}" in row}
        inner = [
            _scale(found["score"], found["expected"], float(low), float(high), language),
            Markup("<p><b>{}</b> {}</p>").format(say(language, "reason"), found["reason"])
            if found["reason"]
            else Markup(""),
            _thought({}, found["reasoning"], language),
        ]
        if chances:
            bars = fragments.bars(language, chances, str(found["score"]), {})
            inner.append(fragments.folded(say(language, "distribution"), bars))
        parts.append(fragments.section(name, *inner))
    return Shown(fragments.joined(parts), as_lines(kept))


def _scale(score: int, expected: float, low: float, high: float, language: str) -> Markup:
    """A score, the expected one, and where this lies between the lowest and the highest."""
    share = 100 * (min(max(expected, low), high) - low) / (high - low or 1)
    said = f"{say(language, 'expected')} {expected:.2f} · {say(language, 'of_scale', low=f'{low:g}', high=f'{high:g}')}"
    return Markup(
        '<div class="score"><strong>{}</strong><span class="beside">{}</span>'
        '<span class="track" aria-hidden="true"><span style="width:{}%"></span></span></div>'
    ).format(score, said, f"{share:.1f}")


def _ranked(one: Loaded, texts: dict[str, str], language: str) -> Shown:
    documents = [line.strip() for line in texts["document"].splitlines() if line.strip()]
    if len(documents) > DOCUMENTS:
        raise RetuneError(say(language, "too_many_documents", count=f"{len(documents):,}", limit=DOCUMENTS))
    with one.alone() as model:
        found = model.rerank(texts["query"], documents)
    lines = joined_documents(found, language)
    kept = [{"rank": rank, **row} for rank, row in enumerate(found, 1)]
    head = Markup('<p class="by">{} · {}</p>').format(say(language, "answer"), model.name)
    return Shown(fragments.joined([head, Markup('<ol class="ranked">{}</ol>').format(lines)]), as_lines(kept))


def joined_documents(found: Sequence[dict[str, Any]], language: str) -> Markup:
    """A line for each document, the best first, with its score and relevance."""
    score, relevance = say(language, "score"), say(language, "relevance")
    return fragments.joined(
        Markup(
            '<li><span class="given">{}</span><span class="beside">{} {} · {} {}</span>'
            '<span class="track" aria-hidden="true"><span style="width:{}%"></span></span></li>'
        ).format(
            one["document"], score, f"{one['score']:.4f}", relevance, f"{one['relevance']:.3f}",
            f"{100 * one['relevance']:.1f}",
        )
        for one in found
    )  # fmt: skip


def _kept_back(row: dict[str, Any], language: str) -> Markup:
    """Why there is no label, of a model that keeps back what it is not sure of."""
    if not row.get("abstained"):
        return Markup("")
    return fragments.note(say(language, "none_of_these" if row.get("none_of_these") else "kept_back"))


def _cut(row: dict[str, Any], language: str) -> Markup:
    return fragments.note(say(language, "cut")) if row.get("truncated") else Markup("")


def _thought(row: dict[str, Any], reasoning: str | None, language: str) -> Markup:
    """The reasoning, folded, and the label that the model wrote behind it."""
    if not reasoning:
        return Markup("")
    wrote = row.get("generated_label")
    last = "" if wrote is None else Markup("<p><b>{}</b> {}</p>").format(say(language, "wrote"), wrote)
    return fragments.folded(say(language, "reasoning"), fragments.text(reasoning), last)
