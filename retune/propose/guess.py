"""From the fields of a file to a kind of task and a mapping of its columns, with the reason for each choice."""

from __future__ import annotations

from typing import Any

import polars as pl

from retune.errors import RetuneError
from retune.propose import answers, scores, target, texts
from retune.propose import vocabulary as words
from retune.propose.field import FEW, Field
from retune.propose.files import SPLITS
from retune.propose.look import Guess, Look, Said


def understand(fields: dict[str, Field], frame: pl.DataFrame, said: Said) -> Guess:
    """What the fields of a file mean. Raises `RetuneError` where no label or no text is found."""
    look = Look(fields, frame, said)
    for column, spec in said.columns.items():
        _take_said(look, column, spec)
    _take_id(look)
    _take_split(look)
    reasons = [one for one in look.free() if words.has(one, words.REASONING) and one.is_text and one.mean > 8]
    nested = scores.nested(list(fields.values())) if said.kind in (None, "scoring") and not said.label else {}
    found = scores.of_nested(look, nested) if nested else _of_target(look, reasons)
    _take_group(look, found)
    return found


def _take_said(look: Look, column: str, spec: Any) -> None:
    named = spec if isinstance(spec, str) else spec.get("from", ())
    for name in [named] if isinstance(named, str) else named:
        look.known(name, f"--column {column}")
        look.taken.add(name)
    shown = named if isinstance(named, str) else " + ".join(named)
    look.columns[column] = spec
    look.why.append((column, shown, "as --column says"))


def _take_id(look: Look) -> None:
    if "id" in look.columns:
        return
    for one in look.free():
        if one.unique and one.longest <= 80 and words.has(one, words.ID):
            look.take("id", one.name, "each record has another value, and its name is that of an id")
            return


def _take_split(look: Look) -> None:
    for one in look.free():
        if words.has(one, words.SPLIT) and one.values and all(value.lower() in SPLITS for value in one.values):
            mapped = {value: SPLITS[value.lower()] for value in one.values}
            spec = one.name if all(a == b for a, b in mapped.items()) else {"from": one.name, "map": mapped}
            look.take("split", one.name, f"its values are names of splits ({', '.join(one.values)})", spec)
            return


def _take_group(look: Look, found: Guess) -> None:
    if "group" in look.columns:
        return
    if look.said.group:
        look.known(look.said.group, "--group")
        for table in found.tables:
            table["group"] = look.said.group
        found.why.append(("group", look.said.group, "as --group says"))
        found.left = [name for name in found.left if name != look.said.group]
        return
    for one in look.free():
        repeats = 10 <= one.distinct <= 0.8 * one.filled and one.filled > 0.98 * one.rows
        if not repeats or not words.has(one, words.GROUP) or one.shape in ("date", "url") or one.mean > 60:
            continue
        if any(word in words.SURE_GROUP for word in one.words) and _keeps_queries(look, found, one):
            for table in found.tables:
                table["group"] = one.name
            reason = f"{one.distinct:,} values for {one.filled:,} records: those of one value go into one split"
            found.why.append(("group", one.name, reason))
            found.left.remove(one.name)
        else:
            found.group = one.name
        return


def _keeps_queries(look: Look, found: Guess, one: Field) -> bool:
    query = found.tables[0].get("query")
    if not isinstance(query, str):
        return True
    return bool(look.frame.select(pl.struct(query, one.name).n_unique() == pl.col(query).n_unique()).item())


def _of_target(look: Look, reasons: list[Field]) -> Guess:
    said, goal, close = look.said, None, list[Field]()
    # what only explains an answer is no label, and a side of a pair of fields is none either
    sided = texts.two_sided([one for one in look.free() if one.is_text])
    sides = {one.name for one in sided or ()}
    offered = [one for one in look.free() if one not in reasons and one.name not in sides]
    if said.label:
        goal = look.known(said.label, "--label")
    elif not {"label", "score", "relevance"} & look.columns.keys():
        goal, close = target.choose(offered, look.frame)
        if said.kind == "scoring" or goal is None or words.has(goal, words.SCORE):
            several = scores.beside(look.free())
            if len(several) >= 2 and said.kind in (None, "scoring"):
                return scores.of_several(look, several)
    else:
        column = next(name for name in ("label", "score", "relevance") if name in look.columns)
        spec = look.columns.pop(column)
        goal = look.known(spec if isinstance(spec, str) else str(spec["from"]), f"--column {column}")
    if goal is None:
        return answers.inside(look)
    look.taken.add(goal.name)
    sides_of_pair = texts.two_texts(look, goal)
    kind = said.kind or _kind(look, goal, sides_of_pair, reasons)
    for other in close:
        look.ambiguous.append(
            f"the label may be `{other.name}` instead of `{goal.name}`: `--label {other.name}` takes it"
        )
    if kind in ("pair", "ranking"):
        if sides_of_pair is None:
            raise RetuneError(
                f"kind {kind} compares two texts, and two were not found among {', '.join(look.fields)}: give them by "
                "`--text FIRST,SECOND`"
            )
        return _compared(look, kind, goal, sides_of_pair, reasons)
    if kind == "scoring":
        return scores.of_one(look, goal, texts.one_text(look), reasons)
    return _classification(look, goal, sides_of_pair)


def _kind(look: Look, goal: Field, pair: tuple[Field, Field] | None, reasons: list[Field]) -> str:
    """The kind of task, and in `look.ambiguous` what else it might be."""
    graded = goal.shape == "number" and goal.distinct > 2
    if pair is None:
        named = words.has(goal, words.SCORE) and not words.is_named(goal, words.SURE_LABEL)
        ordered = goal.shape == "number" and goal.whole and goal.distinct >= 3
        if named and (ordered or words.scale(list(goal.values))):
            return "scoring"
        if ordered and not named and goal.distinct >= 5:
            look.ambiguous.append(
                f"the numbers of `{goal.name}` are taken for names of classes: `--kind scoring` takes them for scores"
            )
        return "classification"
    first, _ = pair
    each = look.frame.height / max(first.distinct, 1)
    asked = texts.query_and_document(list(pair)) == pair and not texts.two_sided(list(pair))
    if graded and goal.whole and not asked and each < 1.5:
        return "pair"
    if graded or words.has(goal, words.RELEVANCE):
        return "ranking"
    if goal.distinct > 2:
        return "classification"
    if asked and each >= 1.5 and not reasons:
        look.ambiguous.append(
            f"`{first.name}` has {each:.1f} records each, so it is taken for a query whose documents are ranked: "
            "`--kind pair` judges each pair by itself"
        )
        return "ranking"
    if asked:
        look.ambiguous.append("a query and a document with yes or no are taken for a pair: `--kind ranking` ranks")
    return "pair"


def _compared(look: Look, kind: str, goal: Field, pair: tuple[Field, Field], reasons: list[Field]) -> Guess:
    names = ("text_a", "text_b") if kind == "pair" else ("query", "document")
    for column, one in zip(names, pair, strict=True):
        look.take(column, one.name, f"text of {one.mean:.0f} characters on average, one of two that a row compares")
    if kind == "ranking":
        look.take("relevance", goal.name, *scores.relevance(goal))
        for one in look.free():
            if words.is_named(one, words.WEIGHT) and one.shape == "number" and one.low > 0:
                look.take("weight", one.name, "a number above 0, and its name")
        return look.guess(kind)
    look.take("label", goal.name, *scores.yes_or_no(look, goal))
    full = next((one for one in reasons if one.name not in look.taken and one.filled >= 0.99 * one.rows), None)
    if full:
        look.take("reasoning", full.name, "text in every record, named as the reasoning for the label")
    return look.guess(kind, reasoning=True if full else None)


def _classification(look: Look, goal: Field, pair: tuple[Field, Field] | None) -> Guess:
    if pair and not look.said.texts:
        names = [one.name for one in pair]
        look.take("text", names[0], f"with `{names[1]}`: more than two labels for two texts",
                  {"from": names, "join": " [SEP] "})  # fmt: skip
        look.taken.add(names[1])
    elif "text" not in look.columns:
        name, spec = texts.one_text(look)
        reason = "as --text says" if look.said.texts else texts.reason(look.fields[name])
        look.columns["text"] = spec
        look.why.append(("text", name, reason))
    if not goal.values or goal.distinct > FEW:
        raise RetuneError(
            f"`{goal.name}` has {goal.distinct:,} different values, but a classification has 2 to {FEW} labels: name "
            "another field by `--label`, or merge the rare ones"
        )
    look.take("label", goal.name, f"{goal.distinct} different values in {goal.filled:,} records")
    return look.guess("classification", labels=list(goal.values))
