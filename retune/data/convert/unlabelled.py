"""The `unlabelled` files of a source: rows without a label, of which a teacher says what a student learns.

A row that equals, or nearly equals, one of dev, calibration or test never reaches a model: it is taken out before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retune import stable_hash
from retune.data import kinds, leaks, near_duplicates
from retune.data.convert import SEPARATOR, files_of, records_of
from retune.data.convert.absent_fields import Found
from retune.data.convert.mapping import map_columns
from retune.data.kinds.texts import normalised
from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params

log = logging.getLogger("retune")

SHOWN = 5
"""Rejected records that are shown."""


def read(spec: Params, raw: Path, scratch: Path) -> pl.DataFrame:
    """The distinct rows of the files: columns id (a hash of the texts), group, and the kind's texts.

    `spec` has `kind`, `unlabelled` (the tables), `max_rejects`, and of kind scoring the `dimensions`, all of which a
    document gets where its table maps none. Raises `RetuneError` where more than the share `max_rejects` is rejected.
    """
    kind = kinds.of(spec.kind)
    types = {name: pl.Enum(list(spec.dimensions)) if name == "dimension" else pl.String() for name in kind.TEXTS}
    parts, rejected, records = [], list[str](), 0
    for t, table in enumerate(spec.unlabelled):
        found = Found()
        for f, file in enumerate(files_of(table["file"], raw)):
            frame = _mapped(table, file, raw, types, scratch / f"{t}-{f}", found)
            bad = frame.filter(pl.col("$reason").is_not_null())
            rejected += [f"{file.name}:{line}: {why}" for line, why in bad.select("$line", "$reason").iter_rows()]
            records += len(frame)
            parts.append(frame.filter(pl.col("$reason").is_null()).select(kind.TEXTS))
        found.stop(table["file"])
    if rejected:
        said = "".join(f"\n  {one}" for one in rejected[:SHOWN])
        text = f"{len(rejected):,} of {records:,} unlabelled records can't be read:{said}"
        if len(rejected) > spec.max_rejects * records:
            raise RetuneError(f"{text}\n  mend the files or their `columns` in data/catalog.yaml, or allow max_rejects")
        log.warning("%s", text)
    rows = pl.concat(parts).unique(maintain_order=True)
    texts = [pl.col(name).cast(pl.String) for name in kind.TEXTS]
    number = stable_hash.digests(pl.concat_str(texts, separator=SEPARATOR))
    return rows.select(number.alias("id"), kind.default_group().alias("group"), *kind.TEXTS)


def _mapped(
    table: dict[str, Any], file: Path, raw: Path, types: dict[str, Any], scratch: Path, found: Found
) -> pl.DataFrame:
    """The texts of one file's records, with `$line` and `$reason`."""
    import dataframely as dy

    columns, where = dict(table["columns"]), table.get("where")
    records, joined = records_of(table, file, raw, scratch, found)
    schema = {
        name: dy.Enum(kind.categories) if isinstance(kind, pl.Enum) else dy.String()
        for name, kind in types.items()
        if name in columns
    }
    mapped = map_columns(records, joined, columns, schema, file, where)
    frame = mapped.select(*schema, "$line", "$reason", *(["$out"] if where is not None else [])).collect()
    if where is not None:
        total, frame = len(frame), frame.filter(~pl.col("$out")).drop("$out")
        log.info("%s: `where` leaves out %d of %d unlabelled records", file.name, total - len(frame), total)
    if "dimension" in types and "dimension" not in columns:
        every = pl.DataFrame({"dimension": pl.Series(types["dimension"].categories, dtype=types["dimension"])})
        frame = frame.join(every, how="cross", maintain_order="left_right")
    return frame


def apart(rows: pl.DataFrame, train: pl.DataFrame, measured: Sequence[pl.DataFrame], kind: Kind) -> pl.DataFrame:
    """The unlabelled rows without those of train, and without those like a row of the `measured` splits.

    Out goes a row of which a text (`kind.IDENTIFYING`) stands in one of them but for width, case, white space and
    punctuation, and one all of whose texts nearly do (retune.data.near_duplicates). Says how many these are.
    """
    plain, known = _plain(rows, kind), _plain(train, kind)
    others = pl.concat([_plain(frame, kind) for frame in measured]).with_columns(split=pl.lit("test"))
    both = pl.concat([plain.with_columns(split=pl.lit("train")), others]).with_columns(origin=pl.lit("original"))
    without = leaks.without(both.lazy(), kind).filter(pl.col("split") == "train").collect()
    names = kind.IDENTIFYING
    here, there = ({text for name in names for text in side[name]} for side in (without, others))
    pairs = near_duplicates.numbered(sorted(here | there))
    alike = {text: pairs[text] for text in here}, {text: pairs[text] for text in there}
    near = pl.Series([text for text, _, _ in near_duplicates.join(*alike)], dtype=pl.String).implode()
    new = without.filter(~pl.all_horizontal(pl.col(name).is_in(near) for name in names))
    kept = new.join(known, on=kind.TEXTS, how="anti", maintain_order="left")
    log.info(
        "unlabelled: %d rows; taken out: %d with a text of dev, calibration or test, %d nearly like one of their rows, "
        "%d that are training rows; %d left",
        len(rows), len(rows) - len(without), len(without) - len(new), len(new) - len(kept), len(kept),
    )  # fmt: skip
    return rows.filter(pl.col("id").is_in(kept["id"].implode()))


def _plain(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Columns id and the kind's texts, without what makes no difference to a reader, nor punctuation."""
    texts = rows.select("id", *(pl.col(name).cast(pl.String) for name in kind.TEXTS))
    return texts.with_columns(normalised(name).str.replace_all(r"[\p{P}\p{S}]", "") for name in kind.TEXTS)
