"""Any data set to the table of its task: read, map, check, drop exact duplicates, report what was left out and why.

Larger than memory: every step streams from file to file in `scratch`; only ids and hashes of the rows (about
100 bytes a row) are held at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune import stable_hash
from retune.data import kinds
from retune.data.convert import corrections, duplicates, fields, join_explode, left, rejects, row_schema, summary
from retune.data.convert.absent_fields import Found
from retune.data.convert.mapping import map_columns
from retune.data.convert.records import read, store
from retune.data.convert.typed_records import Records
from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params

NULL, SEPARATOR = "\x00", "\x1f"


def convert(spec: Params, raw: Path, out: Path, scratch: Path, visible: Path) -> dict[str, Any]:
    """Write `rows.parquet`, `rejects.jsonl`, `conflicts.jsonl` and `summary.json` into `out`; return the summary.

    `spec` is the `convert` section of a task (kind, labels, source, tables, max_rejects), `raw` the folder of its
    files. Rows stand in the order of tables, files (sorted) and lines. The id is the mapped one, or a hash of all
    columns but the group, so that neither other rows nor the order of rows changes it. A row that equals an earlier one
    of the same official split in all columns but id and group is a duplicate: left out and counted, but in an official
    dev, calibration or test split, which stays as it is published (its id then ends in its number). Rows with the same
    texts (in either order) and different targets are conflicts: all are kept, and listed in `conflicts.jsonl`. The
    labels of `spec.corrections` replace those of the rows with their ids before conflicts are looked for. Raises
    `RetuneError` where more than the share `max_rejects` of the records is rejected, or none is left; the first rejects
    are then in the file `visible`.
    """
    kind = kinds.of(spec.kind)
    schema = kind.schema(spec)
    mapped: list[Path] = []
    left_out: dict[str, int] = {}
    for t, table in enumerate(spec.tables):
        found = Found()
        files = files_of(table["file"], raw)
        for f, file in enumerate(files):
            mapped.append(mapped_file(table, file, raw, kind, schema, scratch / f"{t}-{f}", found))
        found.stop(table["file"])
        if table.get("where") is not None:
            names = [str(file.relative_to(raw)) for file in files]
            for name, count in left.out(table, mapped[-len(files) :], names).items():
                left_out[name] = left_out.get(name, 0) + count
    rows = row_schema.check(mapped, schema, scratch)
    corrected = None
    if spec.get("corrections"):
        rows, corrected = corrections.apply(rows, files_of(spec.corrections, raw), spec, kind)
    plan = duplicates.plan(rows, kind)
    counts = summary.summary(rows, plan, kind, spec.source, raw, left_out)
    counts |= {"corrections": corrected} if corrected else {}
    rejected = duplicates.rejected(rows, plan)
    rejects.stop_above(
        spec.max_rejects, rejected, (counts["rejected"], counts["records"] - sum(left_out.values())), visible
    )
    rejects.write(rejected, out / "rejects.jsonl")
    duplicates.write_conflicts(rows, plan, kind, out / "conflicts.jsonl")
    duplicates.kept(rows, plan).select(list(schema.columns())).sink_parquet(out / "rows.parquet")
    (out / "summary.json").write_text(json.dumps(counts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return counts


def files_of(pattern: str, raw: Path) -> list[Path]:
    """The file of a name, or those that fit a glob, sorted; raises `RetuneError` where there is none.

    A name may hold brackets (`data[1].csv`); Office's lock files (`~$data.xlsx`) fit no pattern.
    """
    named = raw / pattern
    files = [named] if named.is_file() else sorted(path for path in raw.glob(pattern) if _is_data(path, raw))
    if not files:
        there = sorted(str(path.relative_to(raw)) for path in raw.rglob("*") if path.is_file())
        raise RetuneError(f"no file in {raw} fits `{pattern}` (there are: {', '.join(there[:10]) or 'none'})")
    return files


def _is_data(path: Path, raw: Path) -> bool:
    return path.is_file() and path != raw / "SOURCE.json" and not path.name.startswith("~$")


def mapped_file(
    table: dict[str, Any], path: Path, raw: Path, kind: Kind, schema: Any, scratch: Path, found: Found
) -> Path:
    """Map one file to a Parquet file: the columns of the kind, `$key`, `$file`, `$line`, `$row` and `$reason`."""
    records, joined = records_of(table, path, raw, scratch, found)
    columns = dict(table["columns"])
    if table.get("split"):
        columns["split"] = {"value": table["split"]}
    frame = map_columns(records, joined, columns, schema.columns(), path, table.get("where"))
    content = [pl.col(name).cast(pl.String).fill_null(NULL) for name in schema.columns() if name not in ("id", "group")]
    frame = frame.with_columns(
        stable_hash.digests(pl.concat_str(content, separator=SEPARATOR)).alias("$key"),
        pl.lit(str(path.relative_to(raw))).alias("$file"),
    )
    if "id" not in columns:
        frame = frame.with_columns(pl.col("$key").alias("id"))
    if "group" not in columns:
        frame = frame.with_columns(kind.default_group().alias("group"))
    target = scratch / "mapped.parquet"
    store(frame, path, target)
    return target


def records_of(
    table: dict[str, Any], path: Path, raw: Path, scratch: Path, found: Found
) -> tuple[Records, dict[str, Records]]:
    """The records of one file, joined and exploded as the table says, and those of the joined files by their prefix."""
    where, exploded = table.get("where"), table.get("explode")
    names = fields.origins({**table["columns"], **({"where": {"sql": where}} if where is not None else {})})
    joins = [table["join"]] if isinstance(table.get("join"), dict) else table.get("join") or []
    read_by = [join.get("by") or "$line" for join in joins]
    records = read(path, table, scratch / "first", [*names, *read_by, *join_explode.exploded_fields(exploded)])
    joined: dict[str, Records] = {}
    for number, join in enumerate(joins):
        records, second = _joined(records, join, path, raw, scratch / f"joined-{number}", names)
        joined[fields.prefix_of(join)] = second
    if exploded:
        records = join_explode.explode(records, exploded)
    found.look(names, records, joined)
    return records, joined


def _joined(
    records: Records, spec: dict[str, Any], path: Path, raw: Path, scratch: Path, names: list[str]
) -> tuple[Records, Records]:
    """The records with a second file's beside them, and that second file's, of which `names` tell the fields."""
    others = files_of(spec["file"], raw)
    if len(others) != 1:
        raise RetuneError(f"`join.file: {spec['file']}` fits {len(others)} files in {raw}; it must fit one")
    prefix, key = fields.prefix_of(spec), spec.get("key") or spec.get("by") or "$line"
    wanted = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    second = read(others[0], spec, scratch, [*wanted, key])
    return join_explode.join(records, second, spec, path, others[0]), second
