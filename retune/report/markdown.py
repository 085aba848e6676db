"""The summary for a pull request, in GitHub's Markdown; every text from data and models is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from retune.report import abstention, comparison_words, parity, provenance, words
from retune.report.cautions import cautions
from retune.report.comparison_words import Difference, Pair
from retune.report.inputs import Model, Task
from retune.report.words import SAME


def render(tasks: list[Task], handed: Sequence[parity.Parity] = ()) -> str:
    """The summary of these tasks and the exports `handed`, the same text for the same inputs."""
    blocks = [block for task in tasks for block in _task(task)]
    return "\n\n".join(["# Retune report", *blocks, *(_exports(handed) if handed else [])]) + "\n"


def escape(text: str) -> str:
    """One line of plain text that Markdown and HTML show as it is: no markup, no table cell, no mention, no link."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]{}|~$#!])", r"\\\1", line)
    line = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)  # between letters and digits it is no markup
    line = re.sub(r"^[-+=]", r"\\\g<0>", line)
    line = re.sub(r"^(\d+)(?=[.)](?:\s|$))", r"\1&#8203;", line)  # no numbered list
    return re.sub(r"@|://|(?<=www)\.", lambda found: f"{found[0]}&#8203;", line, flags=re.IGNORECASE)


def table(header: list[str], rows: list[list[str]], text_columns: int = 1) -> str:
    """A table whose first columns are text and whose others are numbers, aligned to the right."""
    lines = [header, [":--" if i < text_columns else "--:" for i in range(len(header))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _exports(handed: Sequence[parity.Parity]) -> list[str]:
    rows = [[escape(one.name), *map(escape, one.cells)] for one in handed]
    return ["## Exports", parity.NOTE, table(list(parity.HEADS), rows, len(parity.TEXTS))]


def _task(task: Task) -> list[str]:
    found = provenance.of(task)
    test = found.test
    blocks = [f"## {escape(task.name)}", " ".join(map(escape, comparison_words.headline(task)))]
    blocks += [f"> [!WARNING]\n> {escape(about)}: {escape(text)}" for about, text in cautions(task)]
    blocks.append(
        f"Test split: {words.count(test.rows)} rows, {task.kind.tile(test)};{words.covered(task.models[0].counts)} "
        f"{task.percent} intervals; in bold the {comparison_words.bold(task)}."
    )
    blocks += map(escape, comparison_words.seeds(task))
    blocks.append(_metrics(task))
    if said := [f"- {escape(m.name)}: {escape(remark)}" for m in task.models for remark in m.remarks]:
        blocks.append("\n".join(said))
    if kept_back := abstention.view(task):
        blocks += ["### Abstention", _abstention(kept_back)]
    if gains := comparison_words.gains(task):
        blocks += ["### Against the baseline and the untuned model", _gains(task, gains), _in_words(task, gains)]
    blocks += map(escape, comparison_words.ablation_sentences(task))
    blocks += map(escape, comparison_words.teacher_sentences(task))
    blocks += ["### Data and licences", "\n".join(f"- {escape(line)}" for line in _data(found))]
    return blocks


def _metrics(task: Task) -> str:
    keys = list(task.models[0].metrics)
    best = {key: comparison_words.best(task, key) for key in keys}

    def cell(found: dict[str, float | None] | None, bold: bool) -> str:
        if not found:
            return words.DASH
        number = words.number(found["value"])
        span = f"{words.number(found['low'])}{words.DASH}{words.number(found['high'])}"
        spread = f"<br><sub>{over}</sub>" if (over := words.over_seeds(found)) else ""
        return f"{_strong(number, bold)}<br><sub>{span}</sub>{spread}"

    rows = [[_name(m), *(cell(m.metrics.get(key), m.name in best[key]) for key in keys)] for m in task.systems]
    constant = task.comparison["ignorant"]
    rows.append([f"_{task.kind.CONSTANT_BASELINE}_", *(cell(constant.get(key), bold=False) for key in keys)])
    names = [words.metric(k).name + ("" if words.metric(k).more_is_better else " ↓") for k in keys]
    return table(["Model", *names], rows)


def _abstention(view: dict[str, Any]) -> str:
    """What was promised, and the shares on the test split with their intervals."""
    heads = {"coverage": "Answered", "error": "Error of these", "error_of_all": "Error of all", "aurc": "AURC"}

    def cell(found: dict[str, float | None]) -> str:
        return f"{words.number(found['value'])}<br><sub>{words.interval(found['low'], found['high'])}</sub>"

    rows = [
        [_name(model), escape(promised), *(cell(found[key]) for key in heads)]
        for model, promised, found in view["models"]
    ]
    return table(["Model", "Promised", *heads.values()], rows, text_columns=2)


def _gains(task: Task, gains: list[Pair]) -> str:
    keys = [key for key in task.kind.COMPARED if key in gains[0].differences]

    def cell(found: Difference) -> str:
        bold = found.verdict(task.alpha) != SAME
        details = f"{words.signed_interval(found.low, found.high)}, {words.equals_p(found.p, found.at_most)}"
        return f"{_strong(words.signed(found.value), bold)}<br><sub>{escape(details)}</sub>"

    rows = [[escape(p.a), escape(p.b), *(cell(p.differences[key]) for key in keys)] for p in gains]
    return table(["Model", "Against", *(words.metric(k).name for k in keys)], rows, text_columns=2)


def _in_words(task: Task, gains: list[Pair]) -> str:
    models = {model.name: comparison_words.called(model) for model in task.systems}
    lines = []
    for pair in gains:
        said: dict[str, list[str]] = {}
        for key in task.kind.COMPARED:
            if key in pair.differences:
                said.setdefault(pair.differences[key].verdict(task.alpha), []).append(words.metric(key).name)
        parts = [f"{_strong(verdict, verdict != SAME)} in {', '.join(names)}" for verdict, names in said.items()]
        lines.append(f"- {escape(pair.a)} against {escape(models[pair.b])}: {'; '.join(parts)}.")
    number = len(task.comparison["pairs"])
    lines.append(
        "\nIntervals by a bootstrap over groups, p by swapping the models' answers group by group; p is corrected by "
        f"Holm's method for the {number} pair{'s' if number != 1 else ''} of this task; bold: p below {task.alpha}."
        + (f" {comparison_words.OVER_SEEDS}" if any(model.seeds for model in task.models) else "")
    )
    return "\n".join(lines)


def _data(found: provenance.Provenance) -> list[str]:
    lines = [" ".join(found.sentences), *found.facts]
    return lines + [f"{e.what} {e.name}: {e.license}{f'. {e.note}' if e.note else ''}" for e in found.licences[1:]]


def _strong(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def _name(model: Model) -> str:
    return escape(model.name) + (f" _({model.role})_" if model.role else "")
