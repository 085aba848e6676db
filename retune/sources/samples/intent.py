"""Sample corpus of the task `intent`: calls to the customer service of a telecom operator, 34 intents, in Chinese.

`intent.consult.yaml`, `intent.handle.yaml` and `intent.complain.yaml` hold hand-written families: one concrete concern
of a customer under one intent, in two or more wordings. The same topics recur under many intents, so that the request
and not the topic tells the label, and a split by `family` asks for concerns that training has not seen.

`intent.yaml` declares the rows of each intent (Zipf-like), the values of the slots, and the speech around a sentence:
hesitations, stutters, small talk, and the turns of a dialogue, joined by `[SEP]`, of which any one may carry the
sentence. A part of the rows has no punctuation, as a speech recogniser writes. None of this depends on the intent.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from retune.errors import RetuneError

FRAMES = Path(__file__).with_suffix(".yaml")
FAMILIES = tuple(FRAMES.with_name(f"intent.{part}.yaml") for part in ("consult", "handle", "complain"))
SEPARATOR = "[SEP]"
DIALOGUES, TURNS = 1 / 3, (2, 5)  # share of the rows that are dialogues; fewest and most turns of one
RUN_ON = 0.4  # share of the rows without punctuation
OPENER, BACKGROUND, HESITATION, STUTTER, CLOSER = 0.35, 0.12, 0.2, 0.08, 0.25  # share of the sentences that have one

Table = dict[str, Any]
Intents = dict[str, dict[str, list[str]]]  # intent -> family -> wordings


def write(out: Path, seed: int, rows: int | None) -> None:
    """Write `utterances.csv` into the folder `out`: `rows` rows (all when None), as `generate` makes them."""
    generate(seed, rows).write_csv(out / "utterances.csv")


def generate(seed: int, rows: int | None) -> pl.DataFrame:
    """Return `rows` utterances (all when None): id (from 1), text, intent, family; the same for one seed.

    Fewer rows are the first ones of the whole corpus. The order is drawn by the seed so that every prefix has the
    intents in proportion, and from 34 rows on each of them. Raises RetuneError when there are not `rows` rows.
    """
    frames = yaml.safe_load(FRAMES.read_text(encoding="utf-8"))
    counts: dict[str, int] = frames["rows"]
    available = sum(counts.values())
    if rows is not None and not 1 <= rows <= available:
        raise RetuneError(f"rows is {rows}, but the sample intent has {available} rows; ask for 1 to {available}")
    families = read_families(*FAMILIES)
    if families.keys() != counts.keys():
        differ = ", ".join(sorted(families.keys() ^ counts.keys()))
        raise RetuneError(f"{FRAMES.name}: rows and the files of families do not have the same intents: {differ}")
    placed = []
    for intent, count in counts.items():
        made = _rows_of(intent, families[intent], count, frames, seed)
        placed += [((i + 0.5) / count if i else 0.0, intent, *row) for i, row in enumerate(made)]
    order = np.random.default_rng(seed).permutation(len(placed)).tolist()
    table = sorted((placed[i] for i in order), key=lambda row: row[0])
    return pl.DataFrame(
        [(number, text, intent, family) for number, (_, intent, family, text) in enumerate(table[:rows], 1)],
        schema={"id": pl.Int64, "text": pl.String, "intent": pl.String, "family": pl.String},
        orient="row",
    )


def read_families(*paths: Path) -> Intents:
    """Read `paths` (intent -> family -> wordings divided by ` | `); a name or wording met twice is a RetuneError."""
    found: Intents = {}
    owner: dict[str, str] = {}
    for path in paths:
        for intent, lines in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            found[intent] = {family: line.split(" | ") for family, line in lines.items()}
            for family, wordings in found[intent].items():
                for name in (family, *(re.sub("[，？]", "", wording) for wording in wordings)):
                    if name in owner:
                        where = f"{owner[name]} and in {family} of {intent}"
                        raise RetuneError(f"{path.name}: {name} is in {where}; keep one of them")
                    owner[name] = f"{family} of {intent}"
    return found


def _rows_of(
    intent: str, families: dict[str, list[str]], count: int, frames: Table, seed: int
) -> list[tuple[str, str]]:
    """Make `count` rows (family, text) of one intent: the families in turn, and in each the wordings in turn."""
    rng = np.random.default_rng([seed, zlib.crc32(intent.encode())])  # of its own: another intent's change moves no row
    names = rng.permutation(sorted(families)).tolist()
    wordings = {name: rng.permutation(families[name]).tolist() for name in names}
    rows: dict[str, str] = {}
    for i in range(count):
        name, again = names[i % len(names)], i // len(names)
        wording = wordings[name][again % len(wordings[name])]
        rows[_new_text(wording, frames, rng, rows)] = name
    return [(name, text) for text, name in rows.items()]


def _new_text(wording: str, frames: Table, rng: np.random.Generator, seen: dict[str, str]) -> str:
    """Draw a text of the wording that is not among `seen`."""
    for _ in range(100):
        text = _text(wording, frames, rng)
        if text not in seen:
            return text
    raise RetuneError(f"{FRAMES.name}: too few texts of {wording}; lower rows or add openers and closers")


def _text(wording: str, frames: Table, rng: np.random.Generator) -> str:
    """Draw a spoken form of the wording: slots filled, fillers added, and other turns around it in a dialogue."""
    filled = _fill(wording, frames["slots"], rng)
    turns = [_spoken(filled, frames, rng)]
    if rng.random() < DIALOGUES:
        turns = _dialogue(turns[0], frames, rng)
    if rng.random() < RUN_ON:
        turns = [re.sub("[，？]", "", turn) for turn in turns]
    return SEPARATOR.join(turns)


def _fill(sentence: str, slots: dict[str, list[str]], rng: np.random.Generator) -> str:
    return re.sub(r"\{(\w+)\}", lambda slot: _pick(slots[slot[1]], rng), sentence)


def _spoken(sentence: str, frames: Table, rng: np.random.Generator) -> str:
    """Add hesitation, stutter, small talk before and words behind, each to its share of the sentences."""
    opener, background, hesitation, stutter, closer = rng.random(5) < (OPENER, BACKGROUND, HESITATION, STUTTER, CLOSER)
    if hesitation:
        sentence = sentence.replace("，", f"，{_pick(frames['hesitations'], rng)}，", 1)
    if stutter and re.match("[一-龥]{3}", sentence):
        sentence = f"{sentence[:2]}，{sentence}"
    if background:
        sentence = _pick(frames["backgrounds"], rng) + sentence
    if opener:
        sentence = _pick(frames["openers"], rng) + sentence
    return sentence.rstrip("？") + _pick(frames["closers"], rng) if closer else sentence


def _dialogue(sentence: str, frames: Table, rng: np.random.Generator) -> list[str]:
    """Draw the turns of a dialogue in which the sentence is one turn, or two when it is broken at a pause."""
    while True:
        before, broken, behind = rng.random(3) < (0.75, 0.3, 0.55)
        said = [sentence]
        if broken and "，" in sentence:
            pause = _pick([match.start() for match in re.finditer("，", sentence)], rng)
            said = [sentence[:pause], _pick(frames["between"], rng), sentence[pause + 1 :]]
        first = _pick(frames["before"], rng).split(" / ") if before else []
        last = _pick(frames["behind"], rng).split(" / ") if behind else []
        turns = [*first, *said, *last]
        if TURNS[0] <= len(turns) <= TURNS[1]:
            return [_fill(turn, frames["slots"], rng) for turn in turns]


def _pick(choices: list[Any], rng: np.random.Generator) -> Any:
    return choices[rng.integers(len(choices))]
