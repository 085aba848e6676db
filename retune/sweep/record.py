"""The record of a sweep: one JSON line for each thing that happened, so a kill loses at most the line being written."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retune.atomic_file import replacing
from retune.errors import RetuneError

FILE, STUDY = "trials.jsonl", "study.json"


@dataclass
class Trial:
    """One trial: its values, what became of it, and what dev told.

    `state`: `running`, `done`, `pruned` (ended because it was worse than the others) or `failed`; `said`: why.
    `value`: the dev metric at the chosen `step`, or its mean over `folds`, the dev metrics of each; then `error` is the
    standard error. `curve`: [step, dev metric] as it trained, or [folds so far, their mean].
    """

    number: int
    values: dict[str, Any]
    state: str = "running"
    value: float | None = None
    step: int | None = None
    seconds: float = 0.0
    said: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    error: float | None = None
    folds: list[dict[str, float]] = field(default_factory=list)
    curve: list[list[float]] = field(default_factory=list)


def read(folder: Path) -> list[Trial]:
    """The trials in their order, each as its last whole line tells."""
    file = folder / FILE
    found: dict[int, Trial] = {}
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []:
        with contextlib.suppress(ValueError):
            if line.endswith("\n"):  # else a kill has cut it
                one = Trial(**json.loads(line))
                found[one.number] = one
    return list(found.values())


def add(folder: Path, trial: Trial) -> None:
    """Append a line, on the disk when this returns; a cut line before it is ended first."""
    with (folder / FILE).open("ab+") as stream:
        stream.seek(0, os.SEEK_END)
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(json.dumps(asdict(trial), ensure_ascii=False).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def begin(folder: Path, fingerprint: str) -> Path | None:
    """Make the folder that of this study; where that of another lies there, it is moved aside, to the path returned."""
    study = folder / STUDY
    old = None
    if folder.is_dir() and not (study.is_file() and json.loads(study.read_text(encoding="utf-8")) == fingerprint):
        number = 1
        while folder.with_name(f"{folder.name}.{number}").exists():
            number += 1
        old = folder.rename(folder.with_name(f"{folder.name}.{number}"))
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with replacing(study) as part:
            part.write_text(json.dumps(fingerprint), encoding="utf-8")
    return old


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """A lock on the sweep of this name, which ends with the process. Raises `RetuneError` where another one has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RetuneError(
                f"the sweep {folder.name} is running already: wait for it, or take another --name"
            ) from None
        yield
