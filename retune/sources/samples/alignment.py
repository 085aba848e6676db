"""Sample corpus of the task `alignment`: questions about servo drives and inverters, chunks of manuals, reasoning.

`alignment.yaml` holds product lines, wordings of questions and chunks, faults and parameters. A family is one concern
(a product and a fault code, a parameter, a topic) with two questions of other wording and, for each question, a chunk
that is aligned with it and one that is not. Label and reasoning follow from the entities by
retune.sources.samples.alignment_rules, never from the wording, which is drawn alike for both labels.

Near misses abound: sv660n and sv660 (aligned), sv670n (not); e100.1 for e100 (aligned), e101 (not); the right code of a
wrong product (not), lists with and without a match; what one side does not name contradicts nothing (aligned).

The files are those of the filter that the reference system starts from: aligned and unaligned rows apart, the
reasoning and a `<label>` tag in `llm_analysis`.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from retune.errors import RetuneError
from retune.sources.samples.alignment_rules import Entities, judge, reasoning

FRAMES = Path(__file__).with_suffix(".yaml")
FILES = {True: "filtered_aligned.json", False: "filtered_aligned_unaligned.json"}
CONCERNS = {"code": 4, "parameter": 1, "product": 1}  # families of each main model
TOPICS = 12  # families that name no entity
PER_FAMILY = 4
ALONE = 0.25  # share of the code and parameter families whose questions name no product
UPPER, SUFFIXED, SUB_CODE, LISTED = 0.25, 0.7, 0.5, 0.35  # share of the mentions

Row = dict[str, str]
Rng = np.random.Generator


@dataclass(frozen=True)
class Family:
    """One concern: the product line and main model that it is about, and the fault code, parameter or topic."""

    name: str
    line: dict[str, Any]
    model: str
    kind: str  # code, parameter, product or nothing
    concern: str


def write(out: Path, seed: int, rows: int | None) -> None:
    """Write `filtered_aligned.json` and `filtered_aligned_unaligned.json` into `out`: `rows` rows in all.

    Fewer rows take whole families in an order drawn by the seed; only the last may be cut. Raises RetuneError where
    there are fewer rows, or so few that one of the labels has none.
    """
    made = generate(seed, rows)
    parts = {aligned: [row for row in made if ("<label>对齐" in row["llm_analysis"]) == aligned] for aligned in FILES}
    if not all(parts.values()):
        raise RetuneError(f"rows is {rows}, too few for both labels; ask for more")
    for aligned, part in parts.items():
        text = json.dumps(part, ensure_ascii=False, indent=1)
        (out / FILES[aligned]).write_text(text + "\n", encoding="utf-8")


def generate(seed: int, rows: int | None) -> list[Row]:
    """`rows` rows (all when None): id, family, question, chunk, llm_analysis; the same for one seed."""
    frames = yaml.safe_load(FRAMES.read_text(encoding="utf-8"))
    families = families_of(frames)
    available = len(families) * PER_FAMILY
    if rows is not None and not 1 <= rows <= available:
        raise RetuneError(f"rows is {rows}, but the sample alignment has {available} rows; ask for 1 to {available}")
    order = np.random.default_rng(seed).permutation(len(families)).tolist()
    return [row for place in order for row in _rows_of(families[place], frames, seed)][:rows]


def families_of(frames: dict[str, Any]) -> list[Family]:
    """All families; a fault code or parameter belongs to one, so that no question stands in two."""
    found = []
    for line in frames["lines"]:
        models = line["models"]
        numbers = np.random.default_rng(zlib.crc32(line["code"].encode())).permutation(len(models) * CONCERNS["code"])
        for place, model in enumerate(models):
            codes = numbers[place * CONCERNS["code"] :][: CONCERNS["code"]]
            concerns = [("code", _code(line, int(number))) for number in codes]
            first = place * CONCERNS["parameter"]
            concerns += [("parameter", _parameter(line, first + n)) for n in range(CONCERNS["parameter"])]
            topics = [frames["topics"][(place + n) % len(frames["topics"])] for n in range(CONCERNS["product"])]
            concerns += [("product", topic) for topic in topics]
            found += [Family(f"{model}-{concern}", line, model, kind, concern) for kind, concern in concerns]
    devices = {line["device"]: line for line in frames["lines"]}
    free = [(line, topic) for topic in frames["topics"] for line in devices.values()][:TOPICS]
    return found + [Family(f"{line['device']}-{t}", line, line["models"][0], "nothing", t) for line, t in free]


def _code(line: dict[str, Any], number: int) -> str:
    return str(line["code"]).format(n=str(line["first"] + number).zfill(line["digits"]))


def _parameter(line: dict[str, Any], number: int) -> str:
    return f"{line['parameter']}{number // 6 + 1:02}-{number % 6 + 1:02}"


def _rows_of(family: Family, frames: dict[str, Any], seed: int) -> list[Row]:
    """The rows of a family: for each of two questions an aligned chunk and, where one can be, an unaligned one."""
    rng = np.random.default_rng([seed, zlib.crc32(family.name.encode())])  # of its own: no other family moves its rows
    alone = family.kind in ("code", "parameter") and rng.random() < ALONE
    wordings = frames["questions"][f"{family.kind}_alone" if alone else family.kind]
    rows: list[Row] = []
    for wording in rng.permutation(wordings)[:2]:
        asked = _asked(family, alone, rng)
        question = _filled(str(wording), family, asked, rng)
        for aligned in (True, False) if family.kind != "nothing" else (True, True):
            told = _told(family, asked, aligned, frames, rng)
            assert judge(asked, told).aligned == aligned, (family.name, asked, told)
            chunk = _chunk(family, told, frames, rng)
            while any(row["chunk"] == chunk for row in rows):
                chunk = _chunk(family, told, frames, rng)
            label = "对齐" if aligned else "不对齐"
            rows.append(
                {
                    "id": f"{family.name}-{len(rows) + 1}",
                    "family": family.name,
                    "question": question,
                    "chunk": chunk,
                    "llm_analysis": f"{reasoning(asked, told)}\n\n<label>{label}</label>",
                }
            )
    return [rows[place] for place in rng.permutation(len(rows))]


def _asked(family: Family, alone: bool, rng: Rng) -> Entities:
    product = () if alone or family.kind == "nothing" else (_variant(family.line, family.model, rng),)
    codes = (_written(family.concern, rng),) if family.kind == "code" else ()
    return Entities(product, codes, (family.concern,) if family.kind == "parameter" else ())


def _told(family: Family, asked: Entities, aligned: bool, frames: dict[str, Any], rng: Rng) -> Entities:
    """Entities of a chunk that is aligned with the question, or not."""
    line, model, kind = family.line, family.model, family.kind
    if kind == "nothing":
        return _any_concern(family, _products(line, model, rng) if rng.random() < 0.5 else (), rng)
    same, other = _products(line, model, rng), _other_products(family, frames, rng)
    free = same if rng.random() < 0.5 else other  # products of a chunk where the question names none
    draw = rng.random()
    if kind == "product" and not aligned:
        return _any_concern(family, other, rng)
    if aligned:
        if draw < 0.12:  # nothing that could be compared
            return _any_concern(family, () if asked.products or rng.random() < 0.5 else free, rng)
        if kind == "product":
            return _any_concern(family, same, rng)
        own = _concern(family, True, rng)
        if draw < 0.25:
            return replace(own, products=())
        if asked.products and draw < 0.4:
            return Entities(same)
        return replace(own, products=same if asked.products else free)
    wrong = _concern(family, False, rng)
    if not asked.products or draw < 0.15:
        return replace(wrong, products=() if asked.products or rng.random() < 0.3 else free)
    if draw < 0.45:
        return replace(wrong, products=same)
    if draw < 0.52:
        return Entities(other)
    return replace(_concern(family, True, rng), products=other)


def _any_concern(family: Family, products: tuple[str, ...], rng: Rng) -> Entities:
    """A chunk about something that the question does not name."""
    draw = rng.random()
    if draw < 0.4 and family.kind != "code":
        return Entities(products, (_sub(_code(family.line, int(rng.integers(40))), rng),))
    if draw < 0.7 and family.kind == "product":
        return Entities(products, (), (_parameter(family.line, int(rng.integers(18))),))
    return Entities(products)


def _concern(family: Family, same: bool, rng: Rng) -> Entities:
    """The codes or parameters of a chunk that shares one with the question, or none; sometimes two of them."""
    names = [family.concern] if same else []
    while len(names) < (2 if rng.random() < LISTED else 1):
        names += [near for near in [_near(family, rng)] if near not in (*names, family.concern)]
    names = [names[place] for place in rng.permutation(len(names))]
    if family.kind == "code":
        return Entities((), tuple(_sub(name, rng) for name in names))
    return Entities((), (), tuple(names))


def _near(family: Family, rng: Rng) -> str:
    """A code or parameter that differs in one digit, mostly the last."""
    name = family.concern
    places = [place for place, character in enumerate(name) if character.isdigit()]
    place = places[-1] if rng.random() < 0.7 else int(rng.choice(places))
    digit = str((int(name[place]) + int(rng.choice([1, 9, 2]))) % 10)
    return name[:place] + digit + name[place + 1 :]


def _products(line: dict[str, Any], model: str, rng: Rng) -> tuple[str, ...]:
    """The model, in one or two variants."""
    found = {_variant(line, model, rng).lower(): None for _ in range(2 if rng.random() < LISTED else 1)}
    return tuple(_written(name, rng) for name in found)


def _other_products(family: Family, frames: dict[str, Any], rng: Rng) -> tuple[str, ...]:
    """One or two other main models, mostly of the same line, where there are any of the same letters."""
    near, own = rng.random() < 0.9, family.model.rstrip("0123456789")
    line = family.line if near else frames["lines"][rng.integers(len(frames["lines"]))]
    models = [model for model in line["models"] if model != family.model and (own in model or not near)]
    count = 2 if rng.random() < LISTED else 1
    return tuple(_variant(line, str(model), rng) for model in rng.permutation(models)[:count])


def _variant(line: dict[str, Any], model: str, rng: Rng) -> str:
    suffix = str(rng.choice(line["suffixes"][1:])) if rng.random() < SUFFIXED else ""
    return _written(model + suffix, rng)


def _written(name: str, rng: Rng) -> str:
    return name.upper() if rng.random() < UPPER else name


def _sub(code: str, rng: Rng) -> str:
    return _written(f"{code}.{rng.integers(1, 4)}" if rng.random() < SUB_CODE else code, rng)


def _filled(wording: str, family: Family, entities: Entities, rng: Rng) -> str:
    device = str(family.line["device"])
    named = "、".join(entities.products)
    if named:
        named += str(rng.choice(["", device, f"系列{device}" if len(entities.products) > 1 else device]))
    values = {
        "machine": named or device,
        "code": "、".join(entities.codes),
        "parameter": "、".join(entities.parameters),
        "device": device,
        "topic": family.concern,
    }
    for name, value in values.items():
        wording = wording.replace(f"{{{name}}}", value)
    return wording


def _chunk(family: Family, told: Entities, frames: dict[str, Any], rng: Rng) -> str:
    """A passage of a manual that names these entities and no other."""
    kind = "code" if told.codes else "parameter" if told.parameters else "product"
    wording = str(rng.choice(frames["chunks"][kind]))
    key = zlib.crc32(kind.encode() + "".join((*told.codes, *told.parameters)).lower().encode())
    if kind == "code":
        name, cause, remedy = frames["faults"][key % len(frames["faults"])]
        wording = wording.replace("{cause}", cause).replace("{remedy}", remedy)
    else:
        name = frames["names"][key % len(frames["names"])]
    for slot in ("value", "when"):
        choices = frames["values" if slot == "value" else slot]
        wording = wording.replace(f"{{{slot}}}", str(rng.choice(choices)))
    return _filled(wording.replace("{name}", name), family, told, rng)
