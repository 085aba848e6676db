"""A file without labels through a model: every record gives one line of the result, in its order."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl

from retune import atomic_file
from retune.data import kinds
from retune.data.convert import join_explode
from retune.data.convert.absent_fields import Found
from retune.data.convert.fields import origins
from retune.data.convert.mapping import map_columns
from retune.data.convert.records import FORMATS, read, store
from retune.errors import RetuneError, unknown
from retune.inference import Model
from retune.progress import bar

log = logging.getLogger("retune")

CHUNK = 4096
"""Records that are predicted at a time."""
SHOWN = 10
"""Bad records that are listed."""
READING = ("records", "fields", "quoted", "encoding", "separator", "sheet", "header_row")
"""Keys of a table that say how its file is read."""
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True)
class Done:
    """Counts of a finished file: all records, those without a prediction, inputs that were cut, labels kept back.

    `abstained` is None of a model that answers whatever it is asked.
    """

    rows: int
    empty: int
    truncated: int
    abstained: int | None = None


def predict(
    model: Model,
    file: Path,
    table: dict[str, Any],
    columns: dict[str, Any],
    form: str,
    out: Any,
    dimensions: Sequence[str] = (),
) -> Done:
    """Write the predictions of `file` to the text stream `out`; `table` says how it is read, `columns` where texts are.

    `form` is csv or jsonl (line, id where there is one, label, probability, prob_LABEL..., reason), or contest (JSON
    lines of id and label). Of kind scoring there is a line for each record and dimension, `score` instead of label and
    probability; where `columns` maps no `dimension`, each record gets all of `dimensions`. Of kind ranking: score,
    relevance, and `rank` among the records of the same query, 1 the best, equals in their order. `reason` says why a
    record has no prediction; the reason that a model gives is `given_reason`. Of a task with `abstain` also abstained,
    would_be and none_of_these, and no label where it abstained. Raises `RetuneError` where no record is good.
    """
    if form == "contest" and model.spec.kind in ("scoring", "ranking"):
        raise RetuneError("--format contest is for labels; take csv or jsonl")
    target = "score" if model.spec.kind in ("scoring", "ranking") else "label"
    with tempfile.TemporaryDirectory() as scratch:
        mapped = Path(scratch) / "mapped.parquet"
        store(_mapped(model, file, table, columns, Path(scratch)), file, mapped)
        rows = pl.scan_parquet(mapped)
        counted = rows.select(pl.len(), bad=pl.col("reason").is_not_null().sum(), ids=pl.col("id").count()).collect()
        every, bad, ids = counted.row(0)
        listed = rows.filter(pl.col("reason").is_not_null()).head(SHOWN).collect()
        said = [f"{file}:{line}: {reason}" for line, reason in listed.select("line", "reason").iter_rows()]
        if bad == every:
            first = "".join(f"\n  {one}" for one in said[:3]) or "\n  it holds no record"
            raise RetuneError(f"no record of {file} can be predicted; mend it, or give --column NAME=FIELD:{first}")
        for one in said:
            log.warning("%s", one)
        parts = _parts(model, rows, every, dimensions)
        if model.spec.kind == "ranking":  # a query may have records everywhere in the file
            parts = iter([_ranked(pl.concat(parts), rows.select("query").collect().to_series())])
        start = empty = truncated = 0
        abstained = 0 if "abstain_below" in model.fitted else None
        for part in parts:
            _write(part.drop("truncated", *([] if ids or form == "contest" else ["id"])), form, out, start)
            start += len(part)
            empty += part[target if abstained is None else "would_be"].null_count()
            if abstained is not None:
                abstained += int((part["abstained"] & part["would_be"].is_not_null()).fill_null(False).sum())
            truncated += int(part["truncated"].fill_null(False).sum())
    return Done(every, empty, truncated, abstained)


def _parts(model: Model, rows: pl.LazyFrame, every: int, dimensions: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The predictions of `CHUNK` records at a time."""
    with bar(total=every, desc="predicting", unit="row", disable=every <= CHUNK) as done:
        for start in range(0, every, CHUNK):
            part = _predicted(model, rows.slice(start, CHUNK).collect(), dimensions)
            yield part
            done.update(min(CHUNK, every - start))


def _ranked(found: pl.DataFrame, query: pl.Series) -> pl.DataFrame:
    """Predictions with `rank` behind the relevance: the place among the records of the same query, from 1."""
    best_first = (pl.col("score").is_null().alias("without"), -pl.col("score"), pl.int_range(pl.len()).alias("at"))
    order = pl.struct(*best_first)
    place = pl.when(pl.col("score").is_not_null()).then(order.rank("ordinal")).over(query)
    return found.select(pl.exclude("reason"), place.alias("rank"), "reason")


def mapping(
    model: Model, file: Path, tables: Sequence[dict[str, Any]], number: int | None, given: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How `file` is read, and column -> field: those of the task's table in the catalog, without target; `given` beats.

    The table is the `number`-th (from 1), or the first of the file's format. Raises `RetuneError` for an unknown table
    or column, and where a text is mapped nowhere.
    """
    known = ("id", *model.texts)
    if odd := [name for name in given if name not in known]:
        raise RetuneError(f"--column {odd[0]}: {model.name} reads {', '.join(model.texts)} (and id)")
    if number is not None and not 1 <= number <= len(tables):
        raise RetuneError(f"--table {number}: the source of task {model.spec.task} has {len(tables)} tables")
    alike = [table for table in tables if _is_like(table, file)]
    table = tables[number - 1] if number is not None else (alike or [*tables, {}])[0]
    how: dict[str, Any] = {}
    if table and (_is_like(table, file) or file.suffix.lower() not in FORMATS):
        how = {key: table[key] for key in READING if key in table}
        how["format"] = _format(table)
    columns = {name: field for name, field in table.get("columns", {}).items() if name in known} | given
    columns, exploded = _exploded(table, columns, given)
    how |= {"explode": table["explode"]} if exploded else {}
    if lost := [name for name in model.texts if name not in columns and name != "dimension"]:
        raise RetuneError(f"nothing says where `{lost[0]}` is in {file}: give --column {lost[0]}=FIELD")
    return how, columns


def asked(
    model: Model, file: Path, columns: dict[str, Any], wanted: Sequence[str]
) -> tuple[dict[str, Any], Sequence[str]]:
    """`columns`, and the dimensions in which each record is scored where they do not say its own.

    `wanted` beats the file. A dimension that the catalog takes from a file's name counts where that is one; one that it
    takes from an exploded field does not (`mapping` leaves it out). Raises `RetuneError` for an unknown dimension.
    """
    known = list(model.spec.get("dimensions", ()))
    if odd := [name for name in wanted if name not in known]:
        raise RetuneError(unknown("dimension", odd[0], known, f" of {model.name}"))
    named = columns.get("dimension") == "$file" and file.stem not in known
    if "dimension" not in model.texts or (not wanted and "dimension" in columns and not named):
        return columns, ()
    return {name: field for name, field in columns.items() if name != "dimension"}, wanted or known


def _exploded(table: dict[str, Any], columns: dict[str, Any], given: dict[str, str]) -> tuple[dict[str, Any], bool]:
    """The columns, and whether a text of them comes out of the field that the table explodes.

    A new file has no judged dimensions to explode: a dimension alone that is found there is left out.
    """
    spec = table.get("explode")
    if not spec:
        return columns, False
    made = (spec.get("key") or "key", spec.get("value") or "value")
    inside = [
        name
        for name, column in columns.items()
        if name not in given and any(field.partition(".")[0] in made for field in origins({name: column}))
    ]
    if inside == ["dimension"]:
        return {name: field for name, field in columns.items() if name != "dimension"}, False
    return columns, bool(inside)


@contextlib.contextmanager
def output(file: Path | None, form: str | None, read: Path | None = None) -> Iterator[tuple[IO[str], str]]:
    """A stream that becomes `file` when the block succeeds (or standard output), and the format of what goes there.

    Raises `RetuneError` for an unknown suffix, and where `file` is the one that is `read`.
    """
    if file is None:
        yield sys.stdout, form or "csv"
        return
    form = form or SUFFIXES.get(file.suffix.lower())
    if form is None:
        raise RetuneError(f"{file}: `{file.suffix}` tells no format; end it in {', '.join(SUFFIXES)}, or give --format")
    if read is not None and file.exists() and read.exists() and file.samefile(read):
        raise RetuneError(f"--out {file} is the file that is predicted: give another name")
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file.replacing(file) as part, part.open("w", encoding="utf-8", newline="") as stream:
        yield stream, form


def _is_like(table: dict[str, Any], file: Path) -> bool:
    """Whether a file has the suffix of a table's, or its format."""
    suffix = file.suffix.lower()
    return Path(table["file"]).suffix.lower() == suffix or _format(table) == FORMATS.get(suffix)


def _format(table: dict[str, Any]) -> str | None:
    return table.get("format") or FORMATS.get(Path(table["file"]).suffix.lower())


def _mapped(model: Model, file: Path, table: dict[str, Any], columns: dict[str, Any], scratch: Path) -> pl.LazyFrame:
    """Columns line, id, the model's texts, reason (null for a good record)."""
    import dataframely as dy

    if not file.is_file():
        raise RetuneError(f"{file} is not there")
    spec = table.get("explode")
    wanted_fields = [*origins(columns), "id", *join_explode.exploded_fields(spec)]
    records = read(file, table, scratch / "read", wanted_fields)
    if spec:
        records = join_explode.explode(records, spec)
    found, ids = Found(), Found()
    found.look(origins({name: field for name, field in columns.items() if name != "id"}), records, None)
    found.stop(str(file), "give --column NAME=FIELD")
    ids.look(origins({name: field for name, field in columns.items() if name == "id"}), records, None)
    if lost := ids.absent or _not_columns(origins({"id": columns["id"]}) if "id" in columns else (), records.fields):
        log.warning("no record of %s has the field `%s`: no line has an id by it", file, min(lost))
        columns = {name: field for name, field in columns.items() if name != "id" or not records.fields}
    if "id" not in columns and (records.fields is None or "id" in records.fields):
        columns = {"id": "id", **columns}
    schema = kinds.of(model.spec.kind).schema(model.spec).columns()
    wanted = {"id": dy.String(nullable=True), **{name: schema[name] for name in model.texts if name in columns}}
    rows = map_columns(records, None, columns, wanted, file)
    return rows.select(pl.col("$line").alias("line"), *wanted, pl.col("$reason").alias("reason"))


def _not_columns(names: Iterable[str], columns: Collection[str] | None) -> set[str]:
    """Fields that are no columns of a table, nor in one; none where the records are JSON."""
    known = columns if columns is not None else names
    return {one for one in names if not {one, one.partition(".")[0]} & set(known) and not one.startswith("$")}


def _predicted(model: Model, rows: pl.DataFrame, dimensions: Sequence[str]) -> pl.DataFrame:
    """Columns line, id, label, probability, prob_LABEL..., truncated, reason of some records, in their order.

    Of kind scoring: line, id, dimension, score, prob_SCORE...; a line for each record and dimension.
    """
    if dimensions:
        rows = rows.join(pl.DataFrame({"dimension": list(dimensions)}), how="cross", maintain_order="left_right")
    rows = rows.with_row_index("$place")
    good = rows.filter(pl.col("reason").is_null())
    found = model.predict(good.select(model.texts)).hstack(good.select("$place"))
    found = found.rename({"reason": "given_reason"}, strict=False)
    if "raw" in found.columns:
        unread = pl.concat_str(pl.lit("the answer names no label: "), pl.col("raw").fill_null(""))
        said = "would_be" if "would_be" in found.columns else "label"
        found = found.with_columns(why=pl.when(pl.col(said).is_null()).then(unread)).drop("raw")
        rows = rows.join(found.select("$place", "why"), on="$place", how="left", maintain_order="left")
        rows, found = rows.with_columns(pl.coalesce("reason", "why").alias("reason")).drop("why"), found.drop("why")
    joined = (
        rows.drop(name for name in model.texts if name != "dimension")
        .join(found, on="$place", how="left", maintain_order="left")
        .drop("$place")
    )
    order = [name for name in ("line", "id", "dimension") if name in joined.columns]
    return joined.select(*order, pl.exclude(*order, "reason"), "reason")


def _is_whole(text: str) -> bool:
    """Whether a text is a number as JSON readers have it: of at most 64 bits, and without leading zeros."""
    return text.isascii() and text.isdigit() and len(text) < 20 and (text == "0" or text[0] != "0")


def _write(rows: pl.DataFrame, form: str, out: IO[str], start: int) -> None:
    """Append some predictions; `start` is the number of those before."""
    if form == "contest":
        ids = rows["id"].to_list()
        for place, (name, label) in enumerate(zip(ids, rows["label"].fill_null(""), strict=True), start):
            number = place if name is None else int(name) if _is_whole(name) else name
            out.write(json.dumps({"id": number, "label": label}, ensure_ascii=False) + "\n")
        return
    out.write(rows.write_ndjson() if form == "jsonl" else rows.write_csv(include_header=start == 0))
