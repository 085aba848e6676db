"""What a reader of the report must not overlook: the gravest first, and once what several models have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from retune.report import provenance
from retune.report.inputs import Task
from retune.report.words import and_

SEVERITY = (
    "leak",  # the figures flatter: what is measured stands in train or dev too
    "training",  # a model that learned next to nothing
    "answers",  # those without one count as wrong
    "test rows",  # what so few groups or queries can't show
    "calibration",  # probabilities or thresholds that say little
    "data",  # what may have spoilt a training
)
"""The kinds of warnings, the gravest first."""


class Caution(NamedTuple):
    """One warning: what it is of (a kind of `SEVERITY`), about which task or model, and the sentence."""

    kind: str
    about: str
    sentence: str


def cautions(task: Task) -> list[tuple[str, str]]:
    """Every warning, as (task or models, sentence), by `SEVERITY`."""
    found: dict[tuple[str, str], list[str]] = {}
    for kind, about, sentence in _said(task):
        names = found.setdefault((kind, sentence), [])
        if about not in names:
            names.append(about)
    ordered = sorted(found.items(), key=lambda entry: SEVERITY.index(entry[0][0]))
    return [(and_(names), sentence) for (_, sentence), names in ordered]


def _said(task: Task) -> Iterator[Caution]:
    """What the stages warned of, in the order of params.yaml."""
    explored = task.exploration
    for sentence in provenance.leaks(task):
        yield Caution("leak", task.name, sentence)
    for sentence in explored["warnings"]:
        yield Caution("leak" if sentence in explored["leaks"] else "data", task.name, sentence)
    for sentence in task.comparison["warnings"]:
        yield Caution("test rows", task.name, sentence)
    for model in [one for first in task.models for one in (first, *first.further)]:
        for sentence in model.warnings:
            yield Caution("training", model.name, sentence)
        for sentence in model.calibration["messages"]:
            yield Caution("calibration", model.name, sentence)
        if unparsed := model.counts["unparsed"]:
            lost = f"{unparsed} of {model.counts['rows']} test rows have no parsed answer; they count as wrong."
            yield Caution("answers", model.name, lost)
