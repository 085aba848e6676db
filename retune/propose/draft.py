"""From files and what they mean to a proposal: an entry of data/catalog.yaml, a task and its models for params.yaml."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from retune.errors import RetuneError
from retune.pipeline.yaml_file import NO_TEXT
from retune.propose import guess, lists
from retune.propose.field import FEW, profile
from retune.propose.files import File, listed, open_file
from retune.propose.look import Guess, Said

JOINED = 0.5
"""Share of the records of the first file that must find a partner by a key."""

ORDER = ("train", None, "dev", "calibration", "test")


@dataclass
class Draft:
    """A proposal: `source`, `task` and `models` are what is written, by their names; the rest is how it came about.

    `folder`: what the files' names are relative to; `guesses`: file -> how it is understood.
    """

    name: str
    folder: Path
    source: dict[str, Any]
    task: dict[str, Any]
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    guesses: list[tuple[File, Guess]] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)


def draft(
    named: Sequence[tuple[str | None, Path]], said: Said, table: dict[str, Any], name: str, license: str | None,
    scratch: Path,
) -> Draft:  # fmt: skip
    """Read the files, understand them, and put a proposal together; `table` says how every file is read.

    Raises `RetuneError` where a file can't be understood, or files don't fit each other.
    """
    found = listed(named)
    opened = [open_file(path, split, table, scratch / str(number)) for number, (split, path) in enumerate(found)]
    opened.sort(key=lambda one: ORDER.index(one.split))
    folder = Path(os.path.commonpath([file.path.parent.absolute() for file in opened]))
    joined = _joined(opened)
    guesses: list[tuple[File, Guess]] = []
    tables: list[dict[str, Any]] = []
    if joined:
        merged, spec = joined
        how = guess.understand(merged.fields, merged.frame, said)
        guesses.append((merged, how))
        spec["file"] = _relative(opened[1].path, folder)
        tables += _tables(merged, how, folder, {"join": spec})
    else:
        kind = said.kind
        for alike in _alike(opened):
            how = _understood(alike, said, kind)
            kind = kind or how.kind
            for one in alike:
                guesses.append((one, how))
                tables += _tables(one, how, folder, {})
    first = guesses[0][1]
    task = _task(first, guesses, opened)
    if first.kind == "scoring" and not joined:
        _dimension_of_file(opened, tables, task)
    _ids(tables, opened, joined is not None)
    ambiguous = list(dict.fromkeys(sentence for _, how in guesses for sentence in how.ambiguous))
    source = {"kind": "path", "path": str(folder), "license": license or "yours", "tables": _merged(tables)}
    return Draft(name, folder, source, {"kind": first.kind, "source": name, **task}, {}, opened, guesses, ambiguous)


def valid_name(paths: Sequence[Path]) -> str:
    """A name of letters, digits, _ and - from the names of the files: what they have in common, without their split."""
    stems = [path.name.partition(".")[0] for path in paths]
    start = stems[0]
    if len(stems) > 1:
        parts = [re.split(r"(?<=[^A-Za-z0-9])|(?=[^A-Za-z0-9])", stem) for stem in stems]
        same = [
            words[0] for words in itertools.takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False))
        ]
        start = "".join(same).strip("_-. ")
        start = start if len(start) >= 3 else paths[0].absolute().parent.name
    start = re.sub(r"[-_.]?(train|training|dev|test|valid|validation|data)$", "", start, flags=re.IGNORECASE) or start
    name = re.sub(r"[^A-Za-z0-9]+", "_", start).strip("_").lower()
    if not re.search("[a-z]", name) or NO_TEXT.match(name):  # Chinese, or what DVC would read as a number or null
        name = f"task_{name}".rstrip("_")
    return name


def _equal(words: tuple[str, ...]) -> bool:
    return len(set(words)) == 1


def _alike(opened: list[File]) -> list[list[File]]:
    """The files by their fields, in their order."""
    found: dict[tuple[str, ...], list[File]] = {}
    for one in opened:
        found.setdefault(one.signature, []).append(one)
    return list(found.values())


def _understood(alike: list[File], said: Said, kind: str | None) -> Guess:
    """What files of the same fields mean, looked at together: one may have but one of the labels."""
    first = alike[0]
    fields, frame = first.fields, first.frame
    if len(alike) > 1:
        frame = pl.concat([one.frame.select(first.frame.columns) for one in alike])
        fields = {name: profile(frame, name) for name in frame.columns}
        for name, one in fields.items():
            if all(file.fields[name].unique for file in alike):  # an id of each file; see `_ids`
                fields[name] = replace(one, distinct=one.filled)
    try:
        how = guess.understand(fields, frame, lists.said(first.table, fields, replace(said, kind=kind)))
        return how if said.columns else lists.explained(first.table, how)
    except RetuneError as error:
        notes = "".join(f" ({note})" for note in first.notes)
        more = f" and {len(alike) - 1} more of the same fields" if len(alike) > 1 else ""
        raise RetuneError(f"{first.path}{more}{notes}: {error}") from None


def _joined(opened: list[File]) -> tuple[File, dict[str, Any]] | None:
    """Two files of which one has the texts and the other the targets, as one; and the join (`by` a key, or by line)."""
    if len(opened) != 2 or any(one.split for one in opened) or opened[0].signature == opened[1].signature:
        return None
    first, second = opened
    for one in opened:
        try:
            guess.understand(one.fields, one.frame, Said())
            return None  # it stands for itself
        except RetuneError:
            continue
    texts = [max((one.mean for one in file.fields.values()), default=0) for file in opened]
    if texts[0] < texts[1]:
        opened.reverse()
        first, second = opened
    for name in first.fields.keys() & second.fields.keys():
        if second.fields[name].unique and _met(first.frame[name], second.frame[name]) >= JOINED:
            right = second.frame.rename(lambda column: f"$join.{column}")
            frame = first.frame.join(right, left_on=name, right_on=f"$join.{name}", how="left", coalesce=False)
            return _merge(first, second, frame), {"by": name}
    if first.frame.height != second.frame.height:
        raise RetuneError(
            f"{first.path} has {first.frame.height:,} records and {second.path} has {second.frame.height:,}, and "
            "neither has both texts and labels: looked for a field with the same name and values in both, or for as "
            "many records"
        )
    frame = first.frame.hstack(second.frame.rename(lambda column: f"$join.{column}"))
    return _merge(first, second, frame), {}


def _met(keys: pl.Series, others: pl.Series) -> float:
    """The share of the keys that are among others."""
    return int(keys.is_in(others.implode()).sum()) / max(len(keys), 1)


def _merge(first: File, second: File, frame: pl.DataFrame) -> File:
    fields = {name: profile(frame, name) for name in frame.columns}
    notes = [*first.notes, f"joined with {second.path.name}, whose fields are called $join.NAME", *second.notes]
    return File(first.path, None, first.table, frame, fields, notes, first.broken + second.broken)


def _relative(path: Path, folder: Path) -> str:
    return path.absolute().relative_to(folder).as_posix()


def _tables(one: File, how: Guess, folder: Path, more: dict[str, Any]) -> list[dict[str, Any]]:
    split = one.split if one.split in ("dev", "calibration", "test") else None
    head = {"file": _relative(one.path, folder), **one.table, **({"split": split} if split else {}), **more}
    return [{**head, "columns": dict(columns)} for columns in how.tables]


def _task(first: Guess, guesses: list[tuple[File, Guess]], opened: list[File]) -> dict[str, Any]:
    """What the task says beside its kind and source."""
    kinds = {how.kind: one.path for one, how in guesses}
    if len(kinds) > 1:
        both = ", ".join(f"{path.name} is taken for a {kind}" for kind, path in kinds.items())
        raise RetuneError(f"the files are of different kinds ({both}): give --kind, or a task for each")
    task = dict(first.task)
    if first.kind == "classification":
        labels: dict[str, None] = {}
        for _, how in guesses:
            labels |= dict.fromkeys(how.task["labels"])
        task["labels"] = list(labels)
        if len(labels) > FEW:
            raise RetuneError(f"{len(labels)} labels, but a classification has 2 to {FEW}: merge the rare ones")
    if first.kind == "scoring":
        ranges = [how.task["scores"] for _, how in guesses]
        task["scores"] = [min(low for low, _ in ranges), max(high for _, high in ranges)]
    if task.get("reasoning") and not all(
        how.task.get("reasoning") for one, how in guesses if one.split not in ("calibration", "test")
    ):
        del task["reasoning"]
    official = {one.split for one in opened} & {"dev", "calibration", "test"}
    rows = sum(one.frame.height for one in opened if one.split in (None, "train"))
    if rows > 20_000:
        shares = {"dev": 0.03, "calibration": 0.03, "test": 0.1}
        task["split"] = {name: share for name, share in shares.items() if name not in official}
    return task


def _dimension_of_file(opened: list[File], tables: list[dict[str, Any]], task: dict[str, Any]) -> None:
    """A file for each dimension (risk/innovation.json): the dimension is the file's name."""
    stems = list(dict.fromkeys(one.path.stem for one in opened))
    if len(stems) < 2 or len(task["dimensions"]) != 1 or len(tables) != len(opened):
        return
    if not all(re.fullmatch(r"[A-Za-z0-9_\-]+", stem) for stem in stems) or len(stems) * 2 > 2 * len(opened):
        return
    if any(one.path.stem == one.split for one in opened) or len({one.signature for one in opened}) > 1:
        return
    for table in tables:
        table["columns"]["dimension"] = "$file"
    task["dimensions"] = {stem: stem.replace("_", " ") for stem in stems}


def _ids(tables: list[dict[str, Any]], opened: list[File], joined: bool) -> None:
    """An id must be unique over all files: the file's name stands before it where it is not, or it is left out."""
    named = {table["columns"]["id"] for table in tables if isinstance(table["columns"].get("id"), str)}
    if not named or joined or len(opened) < 2:
        return
    values = [one.frame[name] for one in opened for name in named if name in one.frame.columns]
    together = pl.concat([value.alias("id") for value in values])
    if together.n_unique() == len(together):
        return
    stems = {one.path.stem for one in opened}
    for table in tables:
        if isinstance(name := table["columns"].get("id"), str):
            if len(stems) == len(opened):
                table["columns"]["id"] = {"from": ["$file", name], "join": "-"}
            else:
                del table["columns"]["id"]


def _merged(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files of one folder and suffix that are mapped alike, as one table with a pattern (from three files on)."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        path = Path(table["file"])
        key = repr((path.parent.as_posix(), path.suffix, {k: v for k, v in table.items() if k != "file"}))
        groups.setdefault(key, []).append(table)
    found = []
    for alike in groups.values():
        path = Path(alike[0]["file"])
        others = [t for t in tables if t not in alike and Path(t["file"]).parent == path.parent]
        if len(alike) >= 3 and not any(Path(t["file"]).suffix == path.suffix for t in others):
            found.append({**alike[0], "file": (path.parent / f"*{path.suffix}").as_posix()})
        else:
            found += alike
    return found
