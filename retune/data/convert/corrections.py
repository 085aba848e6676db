"""Labels that people corrected: an export of Label Studio, joined to the rows by id.

Read are its JSON (tasks with annotations), JSON-MIN and CSV. A row whose reviewers agree gets their label; nothing else
of it changes, its id neither, and no row comes or goes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune.data.convert.row_schema import Rows
from retune.errors import RetuneError, unknown

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params

ROW_ID, CHOICE = "row_id", "corrected"
"""Fields of what `retune doubts` writes for Label Studio: a row's id (`id` is Label Studio's own), and the label that a
reviewer chooses, a column of exports as CSV."""

REASONS = ("reasoning", "reason")
"""Columns that speak for a label, and would speak for the old one."""


def apply(rows: Rows, files: list[Path], spec: Params, kind: Kind) -> tuple[Rows, dict[str, int]]:
    """The rows with the labels of `files`, and counts: changed, confirmed, open, disputed, absent.

    `open` were not reviewed, on `disputed` ones reviewers disagree (both keep their label), of `absent` ones no valid
    row has the id. Raises `RetuneError` for an unknown label, and where a changed row has reasoning for the old one.
    """
    reviewed = read(files)
    decided = {name: next(iter(chosen)) for name, chosen in reviewed.items() if len(chosen) == 1}
    allowed = spec.get("labels") or ()
    for name, label in decided.items():
        if label not in allowed:
            text = unknown("label", label, allowed, f" of the task (row `{name}`)")
            raise RetuneError(f"{files[0]}: {text}; choose another one in Label Studio, and export again")
    schema = rows.valid.collect_schema()
    old = rows.valid.filter(pl.col("id").is_in(list(reviewed))).select(
        "id", pl.col(kind.TARGET).cast(pl.String), *(name for name in REASONS if name in schema)
    )
    table = old.collect(engine="streaming")
    new = pl.col("id").replace_strict(list(decided), list(decided.values()), default=None, return_dtype=pl.String)
    known = table.with_columns(new=new).filter(pl.col("new").is_not_null())
    changed = known.filter(pl.col("new") != pl.col(kind.TARGET))
    _refuse_reasons(changed, files[0])
    counts = {
        "changed": len(changed),
        "confirmed": len(known) - len(changed),
        "open": sum(not chosen for chosen in reviewed.values()),
        "disputed": sum(len(chosen) > 1 for chosen in reviewed.values()),
        "absent": len(reviewed.keys() - set(table["id"])),
    }
    target = pl.coalesce(new.cast(schema[kind.TARGET]), kind.TARGET).alias(kind.TARGET)
    return replace(rows, valid=rows.valid.with_columns(target)), counts


def words(counts: dict[str, int]) -> str:
    """What became of the corrections, for the log."""
    said = {
        "changed": "labels changed",
        "confirmed": "confirmed",
        "open": "not reviewed",
        "disputed": "on which reviewers disagree (kept)",
        "absent": "whose rows are not there",
    }
    return "corrections: " + ", ".join(f"{counts[name]:,} {text}" for name, text in said.items())


def read(files: list[Path]) -> dict[str, set[str]]:
    """Row id -> the labels that its reviewers chose; raises `RetuneError` for what is no such export."""
    found: dict[str, set[str]] = {}
    for file in files:
        for number, entry in enumerate(_entries(file), 1):
            data = entry.get("data", entry)
            if not isinstance(data, dict) or data.get(ROW_ID) in (None, ""):
                raise RetuneError(
                    f"{file}: entry {number} has no `{ROW_ID}`: corrections are an export (JSON, JSON-MIN, CSV) of "
                    "tasks that `retune doubts` wrote"
                )
            found.setdefault(str(data[ROW_ID]), set()).update(_chosen(entry, f"{file}: entry {number}"))
    return found


def _entries(file: Path) -> list[dict[str, Any]]:
    if file.suffix.lower() == ".csv":
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise RetuneError(f"{file}: broken JSON ({error}): export again from Label Studio") from None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise RetuneError(
            f"{file}: corrections are a list of tasks, as Label Studio exports them (JSON, JSON-MIN, CSV)"
        )
    return found


def _chosen(entry: dict[str, Any], place: str) -> Iterator[str]:
    """The choices of a task's reviewers; of a cancelled (skipped) annotation none."""
    if "data" not in entry:
        values = [entry.get(CHOICE)]
    else:
        done = [one for one in entry.get("annotations") or [] if not one.get("was_cancelled")]
        parts = [part for one in done for part in one.get("result") or [] if part.get("from_name") == CHOICE]
        values = [(part.get("value") or {}).get("choices") for part in parts]
    for value in values:
        if value in (None, "", []):
            continue
        names = value if isinstance(value, list) else [value]
        if len(names) != 1 or not isinstance(names[0], str):
            raise RetuneError(f"{place}: `{CHOICE}` is {json.dumps(value, ensure_ascii=False)}; a row has one label")
        yield names[0]


def _refuse_reasons(changed: pl.DataFrame, file: Path) -> None:
    for name in REASONS:
        if name in changed.columns and (bad := changed.filter(pl.col(name).is_not_null())).height:
            raise RetuneError(
                f"{file} changes the label of {bad.height:,} rows whose {name} speaks for the old one (the first is "
                f"`{bad['id'][0]}`): change label and {name} in the source's own files"
            )
