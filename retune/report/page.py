"""The HTML page: one file without scripts or outside requests; every text from data and models is escaped by Jinja."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from retune.report import comparisons, figures, provenance, words
from retune.report.inputs import Task
from retune.report.words import METRICS

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
MATRIX = 12  # models; a larger matrix can't be read, the list of pairs can
PAIRED = ("f1", "auc", "accuracy")  # metrics that the list of pairs shows; the rest are folded


def render(tasks: list[Task]) -> str:
    """The page over these tasks, the same text for the same inputs."""
    return _environment().get_template("page.html").render(tasks=[_view(task) for task in tasks])


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name in (
        "number", "signed", "interval", "signed_interval", "p_value", "count", "share", "duration", "quantity",
        "gibibytes", "machine", "has_chinese", "shorten", "is_warning", "rows_of", "metric",
    ):  # fmt: skip
        environment.filters[name] = getattr(words, name)
    # What isn't escaped: drawings of charts.py, which escapes what it writes; our style sheet; and line break marks.
    environment.filters["drawing"] = lambda figure: Markup(figure.svg)
    environment.filters["breakable"] = lambda name: escape(name).replace("_", Markup("_<wbr>"))
    environment.globals["css"] = Markup((HERE / "page.css").read_text(encoding="utf-8"))
    return environment


def _view(task: Task) -> dict[str, Any]:
    """What the template shows of one task."""
    keys = [key for key in METRICS if any(key in m.metrics for m in task.models)]
    return {
        "task": task,
        "metrics": keys,
        "styles": figures.styles(task),
        "best": {key: comparisons.best(task, key) for key in keys},
        "top": {key: comparisons.ranked(task, key)[0] for key in (words.PRIMARY, words.RANKING)},
        "headline": comparisons.headline(task),
        "provenance": provenance.of(task),
        "forests": figures.forests(task),
        "ranking": figures.ranking_curves(task),
        "reliability": [figures.reliability(task, m) for m in task.models],
        "training": [
            (m, figures.training(task, m), figures.chosen_step(m)) for m in task.models if m.history or m.messages
        ],
        "ranked": comparisons.ranked(task),
        "matrix": comparisons.pairs(task) if 2 < len(task.models) <= MATRIX else {},
        "pairs": comparisons.listed(task),
        "paired": [key for key in PAIRED if key in keys],
        "over_majority": comparisons.over_majority(task, "accuracy"),
        "warnings": warnings(task),
        "errors": {m.name: m.errors.to_dicts() for m in task.models},
        "disagreements": provenance.disagreements(task),
    }


def warnings(task: Task) -> list[tuple[str, str]]:
    """What a reader must not overlook, as (task or model, sentence): leaks, failed trainings, unparsed answers."""
    found = [(task.name, message) for message in provenance.leaks(task)]
    for model in task.models:
        found += [(model.name, message) for message in model.messages if words.is_warning(message)]
        found += [(model.name, message) for message in model.calibration["messages"]]
        if unparsed := model.counts["unparsed"]:
            said = f"{unparsed} of {model.counts['rows']} test rows have no parsed answer; they count as wrong."
            found.append((model.name, said))
    return found
