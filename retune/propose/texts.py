"""Which fields are the texts that a model reads: one, or two that are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError
from retune.propose import vocabulary as words
from retune.propose.field import Field

if TYPE_CHECKING:
    from retune.propose.look import Look


def readable(fields: list[Field], taken: set[str]) -> list[Field]:
    """The fields that may be a text, the likeliest first."""
    found = []
    for field in fields:
        if field.name in taken or field.shape in ("number", "date", "url", "empty") or field.filled < 0.5 * field.rows:
            continue
        named = words.has(field, words.TEXT)
        if field.shape == "code" or (field.shape == "name" and not named):
            continue
        if words.has(field, words.ID) or words.has(field, words.REASONING) or (field.mean < 4 and not named):
            continue
        found.append(field)
    return sorted(found, key=lambda field: -rank(field))


def rank(field: Field) -> float:
    """How likely a field is the text: by its name, its length, and by how much its values differ."""
    named = max((words.TEXT.get(word, 0) for word in (*field.words, field.name.lower())), default=0)
    return named + min(field.mean, 400) / 60 + field.distinct / max(field.filled, 1)


def two_sided(fields: list[Field]) -> tuple[Field, Field] | None:
    """Two fields whose names differ in their side alone (`title_left`, `title_right`); of several the longest texts."""
    found: list[tuple[float, Field, Field]] = []
    for first in fields:
        for second in fields:
            if first is not second and _sides(first, second):
                filled = min(first.filled / first.rows, second.filled / second.rows)
                found.append((min(first.mean, second.mean) * filled**4, first, second))
    best = max(found, key=lambda one: one[0], default=None)
    return (best[1], best[2]) if best else None


def _sides(first: Field, second: Field) -> bool:
    a, b = first.words, second.words
    if any((x in a and y in b) for x, y in words.TWINS):
        return True
    if len(a) != len(b):
        return False
    differing = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    if len(differing) != 1:
        return _glued(first.name.lower(), second.name.lower())
    return differing[0] in words.SIDES


def _glued(a: str, b: str) -> bool:
    """`句子一` and `句子二`, `texta` and `textb`."""
    return len(a) == len(b) and a[:-1] == b[:-1] and (a[-1:], b[-1:]) in words.SIDES


def query_and_document(fields: list[Field]) -> tuple[Field, Field] | None:
    """A field that is named as a query and another as a document, if there are."""
    queries = [field for field in fields if words.has(field, words.QUERY)]
    documents = [field for field in fields if words.has(field, words.DOCUMENT) and field not in queries[:1]]
    return (queries[0], documents[0]) if queries and documents else None


def two_texts(look: Look, goal: Field) -> tuple[Field, Field] | None:
    """The two texts that a row compares, if it does."""
    said = look.said
    if len(said.texts) == 2:
        first, second = (look.known(name, "--text") for name in said.texts)
        return (first, second) if first and second else None
    for a, b in (("text_a", "text_b"), ("query", "document")):
        if isinstance(look.columns.get(a), str) and isinstance(look.columns.get(b), str):
            return look.fields[look.columns[a]], look.fields[look.columns[b]]
    if said.texts or "text" in look.columns or "document" in look.columns:
        return None
    free = readable(look.free(), {goal.name})
    if sided := two_sided(free):
        return sided
    if named := query_and_document(free):
        return named
    if len(free) < 2 or (said.kind is None and goal.distinct > 2 and goal.shape != "number"):
        return None
    first, second = sorted(free[:2], key=lambda one: list(look.fields).index(one.name))
    alike = max(first.mean, second.mean) < 3 * min(first.mean, second.mean)
    if said.kind in ("pair", "ranking") or (alike and len(free) == 2 and goal.distinct == 2 and _nameless(free)):
        return first, second
    return None


def _nameless(fields: list[Field]) -> bool:
    """Whether names tell nothing (`column1`)."""
    return all(one.words[:1] == ["column"] for one in fields)


def one_text(look: Look) -> tuple[str, Any]:
    """(name, mapping) of the one text that a row has; raises `RetuneError` where there is none."""
    said = look.said.texts
    if said:
        for name in said:
            look.known(name, "--text")
            look.taken.add(name)
        spec = said[0] if len(said) == 1 else {"from": list(said), "join": "\n"}
        return " + ".join(said), spec
    free = readable(look.free(), look.taken)
    if not free:
        raise RetuneError(
            f"no field looks like a text to read: looked for one whose values are words and differ, among "
            f"{look.described()}; `--text FIELD` names it"
        )
    best, *others = free
    look.taken.add(best.name)
    for other in others[:3]:
        if rank(best) - rank(other) < 1.5:
            look.ambiguous.append(
                f"the text may be `{other.name}` instead of `{best.name}`: `--text {other.name}` takes it, "
                f"`--text {other.name},{best.name}` both"
            )
    return best.name, {"from": best.name, "join": ""} if best.shape == "list" else best.name


def reason(one: Field) -> str:
    """Why a field is taken for a text."""
    return f"text of {one.mean:.0f} characters on average, {one.distinct:,} different ones"
