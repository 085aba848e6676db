"""`retune add-task`: read, understand, convert, show; and write where that is asked for."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retune.data import kinds
from retune.errors import RetuneError, unknown
from retune.pipeline import declarations
from retune.pipeline.declarations import DATA, PARAMS
from retune.pipeline.schema.catalog import Format, Table
from retune.pipeline.schema.params import Kind
from retune.pipeline.validation import messages
from retune.propose import block, converted, draft, models, preview, trial, words
from retune.propose.draft import Draft
from retune.propose.look import Said

UNTUNED = "has no untuned model"
"""A warning that is true of each proposal: what an untuned model is, depends on the learner that follows."""

COLUMNS = {
    "pair": ("id", "group", "split", "text_a", "text_b", "label", "reasoning"),
    "classification": ("id", "group", "split", "text", "label"),
    "ranking": ("id", "group", "split", "query", "document", "relevance", "weight"),
    "scoring": ("id", "group", "split", "document", "dimension", "score", "reasoning", "reason"),
}


@dataclass(frozen=True)
class Asked:
    """The options of the command; see `retune add-task --help`."""

    files: list[tuple[str | None, Path]]
    said: Said = field(default_factory=Said)
    name: str | None = None
    table: dict[str, Any] = field(default_factory=dict)
    prompt: str | None = None
    license: str | None = None


def named(text: str) -> tuple[str | None, Path]:
    """`test=FILE` or `FILE`."""
    split, sign, file = text.partition("=")
    if sign and split in ("train", "dev", "calibration", "test") and not Path(text).exists():
        return split, Path(file)
    return None, Path(text)


def run(root: Path, asked: Asked, write: bool, as_json: bool, say: Callable[[str], None]) -> Draft:
    """Show the proposal for the project in `root`, and write it where `write`; see the module's docstring."""
    _check(root, asked)
    declared = declarations.load(root)
    if declared.problems:
        raise RetuneError("the project's own declarations have problems; mend them first:\n  "
                          + "\n  ".join(declared.problems))  # fmt: skip
    with _each_once(), tempfile.TemporaryDirectory(prefix="retune-add-task-") as folder:
        scratch = Path(folder)
        name = asked.name or _free(draft.valid_name([path for _, path in asked.files]), declared)
        one = draft.draft(asked.files, asked.said, asked.table, name, asked.license, scratch / "read")
        if asked.said.positive and (guessed := one.task["kind"]) != "pair":
            raise RetuneError(f"--positive is for pairs, and this is taken for {guessed}: add --kind pair")
        found = converted.converted(one, scratch / "convert")
        converted.prune(one, found)
        converted.forgive(one, found)
        if asked.prompt:
            one.task["prompt"] = asked.prompt
        lengths = models.add(one, declared, found.rows, root)
        one.source["path"] = _path(one, root)
        texts = block.edited(root, one)
        warnings = trial.warnings(root, texts, scratch / "trial")
        if as_json:
            say(json.dumps(words.as_json(one, found), ensure_ascii=False, indent=2))
        else:
            _show(one, found, lengths, declared, root, asked.prompt, say)
    about = [line for line in warnings if re.search(rf"\b{re.escape(one.name)}\b", line) and UNTUNED not in line]
    if not as_json:
        for line in about:
            say(f"warning: {line}")
    if write:
        if not asked.name and (there := next((k for k, v in declared.raw(DATA).items() if v == one.source), None)):
            raise RetuneError(f"{DATA} has this already, as `{there}`: `--name NAME` adds it once more")
        block.replace(root, texts)
        if not as_json:
            say(f"\nwritten: `{one.name}` into {DATA}, the task and {len(one.models)} models into {PARAMS}")
            _next(one, say)
    elif not as_json:
        say("\nnothing was written: the same command with --write does")
    return one


def _show(
    one: Draft, found: converted.Converted, lengths: models.Lengths, declared: declarations.Project, root: Path,
    prompt: str | None, say: Callable[[str], None],
) -> None:  # fmt: skip
    for line in (*words.understood(one), "", f"kind {one.task['kind']}", *words.rows(one, found, lengths)):
        say(line)
    for line in words.unclear(one):
        say(line)
    say("\nrows as the models see them:")
    encoder = models.role(declared, "encoder")
    base = root / "models/bases" / encoder if encoder else None
    fitting = models.prompt_for(declared, one.task, prompt)
    shown = models.shown(declared, one.task, fitting) if fitting else None
    rows = preview.rows_of(found.rows, one.task)
    for line in preview.lines(rows, one.task, base, lengths.limit, shown):
        say(f"  {line}")
    if fitting and not prompt:
        say(f"  (an LLM is not proposed; its prompt is prompts/{fitting}.yaml here, and `--prompt NAME` names one)")
    elif not fitting:
        say("  (no prompt of prompts/ fits these columns and labels: an LLM needs one, and `--prompt NAME` names it)")
    if "encoder" not in kinds.of(one.task["kind"]).LEARNERS:
        learners = ", ".join(kinds.of(one.task["kind"]).LEARNERS)
        say(f"  (kind {one.task['kind']} has no encoder: its learners are {learners})")
    say("\nthe proposal:")
    for line in words.yaml_of(one):
        say(line)


def _next(one: Draft, say: Callable[[str], None]) -> None:
    say("next:")
    say(f"  dvc repro explore@{one.name}    # lengths, duplicates, leaks: before anything is trained")
    for name in one.models:
        say(f"  dvc repro evaluate@{name}")
    say("  dvc repro                       # everything, with comparisons and the report")


@contextlib.contextmanager
def _each_once() -> Iterator[None]:
    """Let each message of the readers through once: a file is read several times."""
    seen = set[str]()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in seen
        seen.add(text)
        return new

    log = logging.getLogger("retune")
    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


def _free(name: str, declared: declarations.Project) -> str:
    """The name, with a number behind it where something is called so already."""
    taken = {*declared.raw(DATA), *declared.said("tasks"), *(m.rpartition("_")[0] for m in declared.said("models"))}
    return next(one for one in (name, *(f"{name}_{number}" for number in range(2, 1000))) if one not in taken)


def _path(one: Draft, root: Path) -> str:
    """The folder as the catalog names it: relative where it lies in the project.

    A file in a folder that holds the project, or what it builds, is named itself: such a folder is no data set.
    """
    here, path = root.absolute(), Path(os.path.abspath(one.folder))
    if here.is_relative_to(path) or path == here / Path(DATA).parent:
        files = sorted({Path(os.path.abspath(file.path)) for file in one.files})
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise RetuneError(f"{path} holds more than {names}: move them into a folder of their own in data/external")
        (path,) = files
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def _check(root: Path, asked: Asked) -> None:
    """Refuse options that can't be meant."""
    said = asked.said
    if not (root / PARAMS).is_file():
        raise RetuneError(f"there is no {PARAMS} here: run the command in the folder of a project")
    paths = [path.resolve() for _, path in asked.files]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise RetuneError(f"{twice.name} is given twice: the rows of one split may not be those of another")
    if said.kind and said.kind not in typing.get_args(Kind):
        raise RetuneError(unknown("kind", said.kind, typing.get_args(Kind)))
    if asked.name and not re.fullmatch(r"[A-Za-z0-9_\-]+", asked.name):
        raise RetuneError(f"--name {asked.name}: a name has letters, digits, _ and - only")
    if (form := asked.table.get("format")) and form not in typing.get_args(Format):
        raise RetuneError(unknown("format", form, typing.get_args(Format)))
    if asked.table:
        from pydantic import ValidationError

        try:
            Table.model_validate({"file": "x", "columns": {}, **asked.table})
        except ValidationError as error:
            (keys, text), *_ = messages(Table, asked.table, error)
            raise RetuneError(f"--{'.'.join(keys)}: {text}") from None
    known = COLUMNS[said.kind] if said.kind else sorted({name for columns in COLUMNS.values() for name in columns})
    for column in said.columns:
        if column not in known:
            raise RetuneError(f"--column {column}=...: {unknown('column', column, known)}")
    if len(said.texts) > 2 and said.kind in ("pair", "ranking"):
        raise RetuneError(f"--text names {len(said.texts)} fields, and kind {said.kind} compares two")
    if asked.prompt and not (root / "prompts" / f"{asked.prompt}.yaml").is_file():
        there = sorted(path.stem for path in (root / "prompts").glob("*.yaml"))
        raise RetuneError(unknown("prompt", asked.prompt, there, " in prompts/"))
    if said.positive and said.kind and said.kind != "pair":
        raise RetuneError(f"--positive is for pairs, not for {said.kind}")
