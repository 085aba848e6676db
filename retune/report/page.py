"""The HTML page: one file without scripts or outside requests; every text from data and models is escaped by Jinja."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retune.report import abstention, comparison_words, figures, parity, provenance, reasoning
from retune.report.cautions import cautions
from retune.report.inputs import Task
from retune.report.jinja import environment

MATRIX = 12  # models; a larger matrix can't be read, the list of pairs can


def render(tasks: list[Task], handed: Sequence[parity.Parity] = ()) -> str:
    """The page over these tasks and the exports `handed`, the same text for the same inputs."""
    template = environment().get_template("page.html")
    return template.render(
        tasks=[_view(task) for task in tasks], handed=handed, parity=parity, over_seeds_note=comparison_words.OVER_SEEDS
    )


def _view(task: Task) -> dict[str, Any]:
    """What the template shows of one task."""
    keys, reasons, abstains = list(task.models[0].metrics), reasoning.view(task), abstention.view(task)
    further = [("abstention", "Abstention")] * bool(abstains) + [("reasoning", "Reasoning")] * bool(reasons)
    return {
        "task": task,
        "kind": task.kind,
        "metrics": keys,
        "seeds": comparison_words.seeds(task),
        "styles": figures.styles(task),
        "best": {key: comparison_words.best(task, key) for key in keys},
        "bold": comparison_words.bold(task),
        "top": {key: comparison_words.ranked(task, key)[0] for key in task.kind.LEADING},
        "headline": comparison_words.headline(task),
        "provenance": provenance.of(task),
        "forests": figures.forests(task),
        "training": [
            (m, figures.training(task, m), figures.chosen_step(m))
            for m in task.models
            if m.history or m.messages or m.warnings
        ],
        "ranked": comparison_words.ranked(task),
        "matrix": comparison_words.pairs(task) if 2 < len(task.systems) <= MATRIX else {},
        "pairs": comparison_words.listed(task),
        "ablations": [*comparison_words.ablation_sentences(task), *comparison_words.teacher_sentences(task)],
        "paired": [key for key in task.kind.COMPARED if key in keys],
        "over_baseline": comparison_words.over_baseline(task, task.kind.OVER_BASELINE),
        "warnings": cautions(task),
        "reasoning": reasons,
        "abstention": abstains,
        "sections": [*task.kind.SECTIONS, *further],
        **task.kind.view(task),
    }
