"""Targets that are numbers or grades: relevances, yes or no, scores of one or several dimensions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError
from retune.propose import texts
from retune.propose import vocabulary as words
from retune.propose.field import Field

if TYPE_CHECKING:
    from retune.propose.look import Guess, Look

MOST = 200
"""Scores that a task may have."""


def relevance(goal: Field) -> tuple[str, Any]:
    """(reason, mapping) of the relevance; raises `RetuneError` where its numbers can't become 0 to 1."""
    if goal.shape != "number":
        answers = words.polarity(list(goal.values))
        if answers is None:
            raise RetuneError(
                f"`{goal.name}` has the values {', '.join(list(goal.values)[:6])}, and a relevance is a number from 0 "
                "to 1: map them in the catalog, or `--kind classification`"
            )
        return f"{' and '.join(answers)} become 0 and 1", {"from": goal.name, "map": answers}
    if goal.low >= 0 and goal.high <= 1:
        return f"numbers from {goal.low:g} to {goal.high:g}", goal.name
    if len(goal.values) > 20 or not goal.values or not goal.whole:
        raise RetuneError(
            f"`{goal.name}` has numbers from {goal.low:g} to {goal.high:g}, and a relevance is from 0 to 1: a mapping "
            "can replace values, not compute; divide them in the file first"
        )
    span = goal.high - goal.low
    grades = {value: round((float(value) - goal.low) / span, 2) for value in sorted(goal.values, key=float)}
    grades = {value: int(grade) if grade in (0, 1) else grade for value, grade in grades.items()}
    return f"grades {goal.low:g} to {goal.high:g}, spread from 0 to 1", {"from": goal.name, "map": grades}


def yes_or_no(look: Look, goal: Field) -> tuple[str, Any]:
    """(reason, mapping) of the label of a pair: 1 the same, 0 not."""
    values = list(goal.values)
    said = look.said.positive
    if said is not None:
        if said not in values:
            raise RetuneError(f"--positive {said}: `{goal.name}` has only {', '.join(values[:10])}")
        answers: dict[str, int] | None = {value: int(value == said) for value in values}
    elif goal.shape == "number" and goal.low >= 0 and goal.high <= 1 and goal.whole:
        return _counted(goal), goal.name
    elif goal.shape == "number" and goal.distinct > 2 and goal.values:
        middle = (goal.low + goal.high) / 2
        answers = {value: int(float(value) > middle) for value in sorted(values, key=float)}
        look.ambiguous.append(
            f"grades of `{goal.name}` above {middle:g} are taken for the same (1): the `map` in the catalog says it; "
            "`--kind ranking` keeps the grades"
        )
    else:
        answers = words.polarity(values)
    if answers is None and len(values) == 2:
        answers = {values[0]: 0, values[1]: 1}
        look.ambiguous.append(
            f"of the labels {values[0]} and {values[1]} the rarer one, {values[1]}, is taken for the same (1): "
            f"`--positive {values[0]}` takes the other"
        )
    if answers is None:
        raise RetuneError(
            f"`{goal.name}` has {goal.distinct:,} different values, and the label of a pair has two: "
            f"`--positive VALUE` says which one means the same, or `--kind classification`"
        )
    return f"{_counted(goal)}; {', '.join(f'{a} is {b}' for a, b in answers.items())}", {
        "from": goal.name,
        "map": answers,
    }


def _counted(goal: Field) -> str:
    return " and ".join(f"{value}: {count:,}" for value, count in list(goal.values.items())[:4]) + " records"


def nested(fields: list[Field]) -> dict[str, dict[str, Field]]:
    """Dimension -> leaf -> field, where `P.DIMENSION.score` is a whole number for two dimensions or more."""
    found: dict[str, dict[str, dict[str, Field]]] = {}
    for one in fields:
        start, _, leaf = one.name.rpartition(".")
        place, _, dimension = start.rpartition(".")
        if dimension and leaf:
            found.setdefault(place, {}).setdefault(dimension, {})[leaf.lower()] = one
    for dimensions in found.values():
        scored = {
            name: leaves
            for name, leaves in dimensions.items()
            if any(leaf in words.SCORE and _is_score(one) for leaf, one in leaves.items())
        }
        if len(scored) >= 2:
            return scored
    return {}


def _is_score(one: Field) -> bool:
    return one.shape == "number" and one.whole and one.high - one.low < MOST and one.distinct >= 2


def of_nested(look: Look, dimensions: dict[str, dict[str, Field]]) -> Guess:
    """A scoring whose dimensions are the keys of an object, each with its score and perhaps a reason."""
    for leaves in dimensions.values():
        look.taken |= {one.name for one in leaves.values()}
    document = _document(look)
    tables, scored = [], []
    ids = _names(list(dimensions))
    for dimension, leaves in dimensions.items():
        score = next(one for leaf, one in leaves.items() if leaf in words.SCORE and _is_score(one))
        reason = next((one for leaf, one in leaves.items() if leaf in words.REASONING), None)
        scored.append(score)
        tables.append({
            **look.columns,
            "document": document,
            "dimension": {"value": ids[dimension]},
            "score": score.name,
            **({"reason": reason.name} if reason else {}),
        })  # fmt: skip
        look.why.append(("score", score.name, f"whole numbers from {score.low:g} to {score.high:g} of one dimension"))
        if reason:
            look.why.append(("reason", reason.name, "the text beside the score"))
    for table in tables:
        table.pop("id", None)  # one record gives several rows
    others = [one for one in look.free() if one.categorical and words.has(one, words.LABEL | words.SCORE)]
    for one in others[:2]:
        kind = "scoring" if words.has(one, words.SCORE) else "classification"
        look.ambiguous.append(f"the target may be `{one.name}`: `--kind {kind} --label {one.name}` takes it")
    shown = {ids[dimension]: dimension.replace("_", " ") for dimension in dimensions}
    return look.guess("scoring", tables, scores=_range(scored), dimensions=shown)


def beside(fields: list[Field]) -> list[Field]:
    """Fields of one scale that are named as scores: the dimensions of a scoring, side by side."""
    named = [one for one in fields if words.has(one, words.SCORE) and one.filled > 0.9 * one.rows]
    graded = [one for one in named if words.scale(list(one.values))]
    if len(graded) >= 2:
        return [one for one in graded if set(one.values) <= {v for other in graded for v in other.values}]
    numbers = [one for one in named if _is_score(one)]
    return numbers if len(numbers) >= 2 and max(one.high for one in numbers) <= 2 * min(o.high for o in numbers) else []


def of_several(look: Look, several: list[Field]) -> Guess:
    """A scoring whose dimensions are fields side by side."""
    look.taken |= {one.name for one in several}
    document = _document(look)
    stems = {one.name: "_".join(word for word in one.words if word not in words.SCORE) or "overall" for one in several}
    ids = _names(list(stems.values()))
    grades = words.scale(list(dict.fromkeys(value for one in several for value in one.values)))
    tables = []
    for one in several:
        score: Any = {"from": one.name, "map": {v: n for n, v in enumerate(grades, 1)}} if grades else one.name
        shared = {column: spec for column, spec in look.columns.items() if column != "id"}
        tables.append({**shared, "document": document, "dimension": {"value": ids[stems[one.name]]}, "score": score})
        look.why.append(("score", one.name, f"{', '.join(grades)} become 1 to {len(grades)}" if grades else
                         f"whole numbers from {one.low:g} to {one.high:g} of one dimension"))  # fmt: skip
    look.ambiguous.append(
        f"{len(several)} fields are taken for scores in as many dimensions: `--label {several[-1].name}` takes one "
        "alone"
    )
    shown = {ids[stem]: stem.replace("_", " ") for stem in stems.values()}
    return look.guess("scoring", tables, scores=[1, len(grades)] if grades else _range(several), dimensions=shown)


def of_one(look: Look, goal: Field, text: tuple[str, Any], reasons: list[Field]) -> Guess:
    """A scoring with one score a row, in one dimension or in the one that a field names."""
    name, document = text
    grades = words.scale(list(goal.values))
    if not grades and not (goal.shape == "number" and goal.whole and goal.high - goal.low < MOST):
        raise RetuneError(
            f"`{goal.name}` has no whole numbers of at most {MOST} different scores (it is {goal.shape}, "
            f"{goal.distinct:,} values), which kind scoring needs: `--kind classification`, or round them in the file"
        )
    look.columns["document"] = document
    look.why.append(("document", name, "the text that is scored"))
    dimension = next(
        (one for one in look.free() if words.has(one, words.DIMENSION) and one.categorical and one.distinct <= 50), None
    )
    if dimension:
        ids = _names(list(dimension.values))
        same = all(a == b for a, b in ids.items())
        look.take("dimension", dimension.name, f"{dimension.distinct} dimensions",
                  dimension.name if same else {"from": dimension.name, "map": ids})  # fmt: skip
        shown = {ids[value]: value for value in dimension.values}
    else:
        only = _names([goal.words[-1] if goal.words else "score"])
        valid = next(iter(only.values()))
        look.columns["dimension"] = {"value": valid}
        shown = {valid: goal.name}
    score = {"from": goal.name, "map": {v: n for n, v in enumerate(grades, 1)}} if grades else goal.name
    said = (
        f"{', '.join(grades)} become 1 to {len(grades)}"
        if grades
        else f"whole numbers from {goal.low:g} to {goal.high:g}"
    )
    look.take("score", goal.name, said, score)
    left = [one for one in reasons if one.name not in look.taken]
    think = next(
        (one for one in left if set(one.words) & {"think", "thought", "thoughts", "reasoning", "cot", "思考"}), None
    )
    if think:
        look.take("reasoning", think.name, "its name: what is thought before the score")
    reason = next((one for one in left if one is not think), None)
    if reason:
        look.take("reason", reason.name, "its name: what is said for the score")
    return look.guess("scoring", scores=[1, len(grades)] if grades else _range([goal]), dimensions=shown)


def _document(look: Look) -> Any:
    if "document" in look.columns:
        return look.columns["document"]
    name, spec = texts.one_text(look)
    look.why.append(("document", name, "the text that is scored"))
    return spec


def _range(scored: list[Field]) -> list[int]:
    """The lowest and highest score: from 1 (or 0) to the highest that occurs."""
    low, high = min(one.low for one in scored), max(one.high for one in scored)
    return [int(min(low, 1)) if low >= 0 and high <= 100 else int(low), int(high)]


def _names(texts: list[str]) -> dict[str, str]:
    """Text -> a name that a dimension may have: letters, digits, _ and -."""
    found: dict[str, str] = {}
    for number, text in enumerate(texts, 1):
        name = re.sub(r"[^A-Za-z0-9_\-]+", "_", text).strip("_") or f"dimension{number}"
        found[text] = name if name not in found.values() else f"{name}_{number}"
    return found
