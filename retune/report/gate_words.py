"""What `retune gate` says: Markdown for a pull request, and the same as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from retune.report import words
from retune.report.gate import Compared, Gate, Key
from retune.report.markdown import escape, table
from retune.report.revisions import Revision


def markdown(gate: Gate) -> str:
    """The verdicts as a comment for a pull request; every name is escaped."""
    blocks = [f"## {_title(gate)}", _sentence(f"Compared: {gate.after.short} against {gate.before.short}")]
    measured = [one for one in gate.compared if one.change]
    if changed := [one for one in measured if one.change and not one.change.same]:
        blocks.append(_table(changed))
    same = [one for one in measured if one.change and one.change.same]
    lines = [
        *([f"The same answers in both: {', '.join(map(_name, same))}."] if same else []),
        *(f"Can't be compared: {_name(one)}: {escape(one.reason)}." for one in gate.compared if not one.change),
        *(_rows(one) for one in _one_a_task(measured)),
        *([f"New: {_listed(gate.new)}."] if gate.new else []),
        *([f"Removed: {_listed(gate.removed)}."] if gate.removed else []),
        *map(_sentence, gate.notes),
    ]
    if lines := [line for line in lines if line]:
        blocks.append("\n".join(f"- {line}" for line in lines))
    if changed:
        blocks.append(_legend(changed))
    return "\n\n".join(blocks) + "\n"


def _title(gate: Gate) -> str:
    if found := gate.regressions:
        listed = words.and_([escape(one.model) for one in found])
        return f"Regression: {listed} {'is' if len(found) == 1 else 'are'} shown to be worse"
    if not any(one.change for one in gate.compared):
        return "No model could be compared"
    better = [escape(one.model) for one in gate.compared if one.change and one.change.verdict == "better"]
    gain = f"; {words.and_(better)} {'is' if len(better) == 1 else 'are'} better" if better else ""
    return f"No regression is shown{gain}"


def _table(changed: list[Compared]) -> str:
    rows = []
    for one in changed:
        change = one.change
        assert change is not None
        span = words.signed_interval(change.low, change.high)
        details = f"{span}, {words.equals_p(change.p, change.at_most)}"
        arrow = "" if change.more_is_better else " ↓"
        figures = [words.number(change.before), words.number(change.after)]
        difference = f"{words.signed(change.difference)}<br><sub>{escape(details)}</sub>"
        rows.append([escape(one.task), _name(one), words.metric(one.metric).name + arrow, _said(one)])
        rows[-1] += [*figures, difference]
    return table(["Task", "Model", "Metric", "Verdict", "Before", "After", "Difference"], rows, text_columns=4)


def _said(one: Compared) -> str:
    """The verdict, and what is known of the tolerance where there is one."""
    change = one.change
    assert change is not None
    if change.regression:
        by = f" by more than the tolerance of {change.worse_by:g}" if change.worse_by else ""
        return f"**worse{by}**"
    verdict = {"better": "**better**", "worse": "worse"}.get(change.verdict, "no evidence either way")
    if not change.worse_by or change.verdict == "better":
        return verdict
    if change.within:
        return f"{verdict}; a loss beyond the tolerance of {change.worse_by:g} is excluded"
    return f"{verdict}; a loss beyond the tolerance of {change.worse_by:g} is neither shown nor excluded"


def _name(one: Compared) -> str:
    if one.was == (one.task, one.model):
        return escape(one.model)
    task, model = one.was
    return f"{escape(one.model)} (was {escape(model if task == one.task else f'{task}: {model}')})"


def _sentence(text: str) -> str:
    return escape(text) + ("" if text.endswith(".") else ".")


def _listed(keys: list[Key]) -> str:
    return ", ".join(escape(model) for _, model in keys)


def _one_a_task(measured: list[Compared]) -> list[Compared]:
    """The first model of each task that has rows of its own."""
    return list({(one.task, one.rows): one for one in reversed(measured)}.values())[::-1]


def _rows(one: Compared) -> str:
    """How many rows of a task are not compared, or have another target; nothing where all are as they were."""
    rows = one.rows
    assert rows is not None
    said = []
    if rows.only_before or rows.only_after:
        said.append(
            f"{words.count(rows.common)} test rows in common; not compared: {words.count(rows.only_before)} that only "
            f"the base has, {words.count(rows.only_after)} that are new"
        )
    if rows.relabelled:
        said.append(f"{words.count(rows.relabelled)} rows have another target now, by which both are measured")
    return f"{escape(one.task)}: {'; '.join(said)}." if said else ""


def _legend(changed: list[Compared]) -> str:
    first = changed[0].change
    assert first is not None
    percent = f"{100 * (1 - first.alpha):g}{words.SPACE}%"
    several = f", corrected by Holm's method for {len(changed)} changed models" if len(changed) > 1 else ""
    return (
        f"<sub>Difference: after minus before on the same test rows, with its paired {percent} interval, by groups; p "
        f"from swapping the two revisions' answers{several}. Better or worse: p below {first.alpha:g}. A regression "
        "is a model that is worse, and with its whole interval by more than its tolerance, where it has one (`gate` in "
        "params.yaml).</sub>"
    )


def numbers(gate: Gate) -> dict[str, Any]:
    """The same for programs; null where a figure has no meaning."""
    return {
        "base": _revision(gate.before),
        "head": _revision(gate.after),
        "regressions": len(gate.regressions),
        "models": [_entry(one) for one in gate.compared],
        "new": [{"task": task, "model": model} for task, model in gate.new],
        "removed": [{"task": task, "model": model} for task, model in gate.removed],
        "notes": gate.notes,
    }


def _revision(revision: Revision) -> dict[str, str | None]:
    return {"name": revision.name, "commit": revision.commit}


def _entry(one: Compared) -> dict[str, Any]:
    found: dict[str, Any] = {"task": one.task, "model": one.model, "metric": one.metric}
    if one.was != (one.task, one.model):
        found["was"] = {"task": one.was[0], "model": one.was[1]}
    if one.change is None or one.rows is None:
        return found | {"verdict": "not compared", "regression": False, "reason": one.reason}
    figures = asdict(one.change)
    figures.pop("same")
    said = {"verdict": one.change.verdict, "regression": one.change.regression, "loss_excluded": one.change.within}
    return found | said | figures | {"rows": asdict(one.rows)}
