"""A label that stands inside a text, such as `Yes. Both name the same drive.`, and what it answers."""

from __future__ import annotations

from retune.errors import RetuneError
from retune.propose import target, texts
from retune.propose import vocabulary as words
from retune.propose.field import FEW
from retune.propose.look import Guess, Look


def inside(look: Look) -> Guess:
    """The guess for a file whose labels stand inside a text; raises `RetuneError` where there are none."""
    found = target.inside(look.free(), look.frame)
    if found is None:
        raise RetuneError(
            f"no field looks like a label: looked for one with 2 to {FEW} different short values, each in several "
            f"records, or a score, and for an answer inside a text; there are {look.described()}. `--label FIELD` "
            "names it; rows without labels are what `retune predict` takes"
        )
    one, label, reasoning, counts = found
    look.taken.add(one.name)
    answers = words.polarity(list(counts)) if look.said.kind in (None, "pair") else None
    free = texts.readable(look.free(), look.taken)
    pair = texts.two_texts(look, one) if len(free) > 1 else None
    if answers is None or not (pair or free):
        name, spec = texts.one_text(look)
        look.columns["text"] = spec
        look.why.append(("text", name, "as --text says" if look.said.texts else texts.reason(look.fields[name])))
        look.take("label", one.name, f"{len(counts)} answers stand in it", {"from": one.name, "regex": label})
        return look.guess("classification", labels=list(counts))
    form = None if pair else target.template(look.frame[free[0].name])
    if pair is None and form is None:
        name, spec = texts.one_text(look)
        look.columns["text"] = spec
        look.why.append(("text", name, texts.reason(look.fields[name])))
        look.take("label", one.name, f"{' or '.join(counts)} stands in it", {"from": one.name, "regex": label})
        return look.guess("classification", labels=list(counts))
    if pair:
        for column, side in zip(("text_a", "text_b"), pair, strict=True):
            look.take(column, side.name, "one of two texts that a row compares")
    elif form:
        prompt = free[0].name
        for column, pattern in zip(("text_a", "text_b"), form, strict=True):
            look.take(column, prompt, "every record fills the same prompt with two texts",
                      {"from": prompt, "regex": pattern})  # fmt: skip
    spec = {"from": one.name, "regex": label, "map": answers}
    look.take("label", one.name, f"{' or '.join(counts)} stands in it", spec)
    if reasoning:
        look.take("reasoning", one.name, "the rest of it", {"from": one.name, "regex": reasoning})
    return look.guess("pair", reasoning=True if reasoning else None)
