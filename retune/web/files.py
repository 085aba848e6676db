"""An uploaded file: predicted as `retune predict` does, within limits, and removed whatever happens."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from retune import params, predict_file
from retune.data.convert import records
from retune.data.convert.fields import origins
from retune.errors import RetuneError
from retune.web import fragments
from retune.web.loaded import Loaded
from retune.web.results import Results, table
from retune.web.words import say

MIB = 2**20
PREVIEW = 10
"""Lines of the result that are shown."""
UNPACKED = 20
"""How many times its limit a file may hold when it is unpacked: sheets are zip archives."""


@dataclass(frozen=True)
class Limits:
    """What a file may have: `size` in MiB, `rows`."""

    size: float = 10.0
    rows: int = 5000


def predict(
    one: Loaded,
    upload: str | None,
    columns: str,
    dimensions: Sequence[str],
    limits: Limits,
    results: Results,
    language: str,
) -> Markup:
    """Predict an uploaded file: what was done, the first lines, and where all are. Raises `RetuneError`."""
    if not upload:
        raise RetuneError(say(language, "no_file"))
    if one.kind == "scoring" and not dimensions:
        raise RetuneError(say(language, "no_dimension"))
    with _own(Path(upload), language) as file:
        given = _columns(columns, language)
        _check_size(file, limits, language)
        try:
            done, lines = _predicted(one, file, given, dimensions, limits, language)
        except RetuneError as error:
            said = str(error).replace(f"{file.parent}/", "").replace("--column", say(language, "columns_word"))
            if "has no field" in said:
                names = ", ".join(f"{name}=..." for name in one.model.texts if name != "dimension")
                said = f"{said}. {say(language, 'name_fields', columns=names)}"
            raise RetuneError(said) from None
    said = say(
        language, "done", file=file.name, rows=f"{done.rows:,}", empty=f"{done.empty:,}", cut=f"{done.truncated:,}"
    )
    shown = table(lines).head(PREVIEW)
    shown = shown.select(name for name in shown.columns if not name.startswith("prob_") or len(shown.columns) <= 8)
    return fragments.joined(
        [
            Markup('<p class="by">{}</p><p>{}</p>').format(one.model.name, said),
            fragments.downloads(language, results.keep(lines, f"{_stem(file)}-{one.model.name}", typed=False)),
            fragments.section(
                say(language, "first_rows", count=len(shown)),
                fragments.table(
                    shown.columns, ([_cell(value) for value in row] for row in shown.iter_rows()), wide=True
                ),
            ),
        ]
    )


@contextmanager
def _own(upload: Path, language: str) -> Iterator[Path]:
    """The file in a folder of its own, under its own name; both are removed behind the block."""
    with tempfile.TemporaryDirectory(prefix="retune-web-") as folder:
        own = Path(folder) / upload.name
        try:
            shutil.move(upload, own)
            shutil.rmtree(upload.parent, ignore_errors=True)
        except FileNotFoundError:
            raise RetuneError(say(language, "gone")) from None
        yield own


def _columns(given: str, language: str) -> dict[str, str]:
    """`text_a=q, text_b=a` -> {"text_a": "q", "text_b": "a"}."""
    pairs = [one.strip().partition("=") for one in given.split(",") if one.strip()]
    if odd := next((one for one in pairs if not one[0].strip() or not one[2].strip()), None):
        raise RetuneError(say(language, "column_form", given="".join(odd)[:100]))
    return {name.strip(): field.strip() for name, _, field in pairs}


def _check_size(file: Path, limits: Limits, language: str) -> None:
    size = file.stat().st_size / MIB
    if size > limits.size:
        raise RetuneError(say(language, "too_large", file=file.name, size=f"{size:.1f}", limit=f"{limits.size:g}"))
    packed = file.read_bytes()[:2] == b"\x1f\x8b"
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            packed = sum(one.file_size for one in archive.infolist()) > UNPACKED * limits.size * MIB
    if packed:
        raise RetuneError(say(language, "packed", file=file.name))


def _predicted(
    one: Loaded, file: Path, given: dict[str, str], dimensions: Sequence[str], limits: Limits, language: str
) -> tuple[predict_file.Done, str]:
    """What was done, and the predictions as JSON lines."""
    model = one.model
    task: dict[str, Any] = params.load().tasks.get(model.spec.task, {}) if params.RESOLVED.is_file() else {}
    read, columns = predict_file.mapping(model, file, task.get("convert", {}).get("tables", []), None, given)
    every = list(dimensions) == one.dimensions
    columns, asked = predict_file.asked(model, file, columns, [] if every else dimensions)
    with tempfile.TemporaryDirectory(prefix="retune-web-") as scratch:
        frame = records.read(file, read, Path(scratch), [*origins(columns), "id"]).frame
        if frame.head(limits.rows + 1).select(pl.len()).collect().item() > limits.rows:
            raise RetuneError(say(language, "too_many_rows", file=file.name, limit=f"{limits.rows:,}"))
    stream = io.StringIO()
    with one.alone():
        done = predict_file.predict(model, file, read, columns, "jsonl", stream, asked)
    return done, stream.getvalue()


def _stem(file: Path) -> str:
    """The name of a file as a part of an address."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in file.stem)[:60] or "file"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    found = "" if value is None else str(value)
    return found if len(found) <= 120 else found[:119] + "…"
