"""Files as people have them, whole and broken, for tests of the readers: what is in them, and how each reader takes it.

`python -m tests.support.broken_files 2000` converts as many of them and prints what went wrong (nothing may).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from retune.errors import RetuneError
from tests.support.converting import PAIR, run, write

TEXTS = (
    "花呗怎么还款",
    "5寸屏, 新",
    'a "b" c',
    "第一行\n第二行",
    "it's",
    "x",
    "[1, 2]",
    "好评😀",
    "a;b|c",
    "{x}",
    "Ａ",
)
FAULTS = (
    '"',
    "'",
    ",",
    "\ud83d",
    "\\ud83d",
    "\\",
    "}",
    "]",
    "\x00",
    "\t",
    ";",
    "\u2028",
    "1e999",
    "NaN",
    "\ufeff",
    '""',
    "",
)


LONGEST = 1500
"""Characters of an error."""


@dataclass
class File:
    """A file, the keys of its table, and the records that must be accounted for where it is read."""

    name: str
    content: bytes
    records: int
    table: dict[str, Any] = field(default_factory=dict)


Rows = list[dict[str, Any]]


def rows_of(dice: random.Random) -> Rows:
    """A few rows of columns a, b, y."""
    return [
        {"a": f"{dice.choice(TEXTS)}{number}", "b": dice.choice(TEXTS), "y": dice.randint(0, 1)}
        for number in range(dice.choice((1, 2, 3, 8, 40)))
    ]


def delimited(dice: random.Random, rows: Rows) -> File:
    """CSV or TSV in some dialect."""
    separator = dice.choice(",,,;\t|")
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=separator, lineterminator=dice.choice(("\n", "\r\n")), quoting=dice.choice((0, 1))
    )
    if dice.random() < 0.1:
        out.write(f"sep={separator}\r\n")
    writer.writerow("aby")
    writer.writerows([row.values() for row in rows])
    return File("r.csv", _encoded(dice, out.getvalue()), len(rows))


def by_hand(dice: random.Random, rows: Rows) -> File:
    """CSV of people who join fields by commas: a quote is a character, and some texts begin or end with one."""
    lines = [f"{dice.choice(('问', '5寸', 'x'))}{number},另一{number},{row['y']}" for number, row in enumerate(rows)]
    for _ in range(dice.randint(1, 3)):
        place, text = (
            dice.randrange(len(lines)),
            dice.choice(('"5寸屏{0},手机,1', '屏幕5"{0},手机,0', '手机{0},"5寸,1', '屏{0},5",1', '屏5{0}",x,1')),
        )
        lines[place] = text.format(place)
    return File("r.csv", _encoded(dice, "a,b,y\n" + "\n".join(lines) + "\n"), len(lines))


def json_text(dice: random.Random, rows: Rows) -> File:
    """A list, lines, or objects one behind another, under a name that may be another's."""
    escaped = dice.random() < 0.5
    one = [json.dumps(row, ensure_ascii=escaped) for row in rows]
    text = dice.choice(
        (
            lambda: json.dumps(rows, ensure_ascii=escaped),
            lambda: json.dumps(rows, ensure_ascii=escaped, indent=2),
            lambda: "\n".join(one),
            lambda: "\n".join(json.dumps(row, ensure_ascii=escaped, indent=1) for row in rows),
            lambda: "".join(one),
            lambda: "[" + ",\n".join(one) + ",]",
            lambda: "[\n" + ",\n".join(one) + "\n]\n",
            lambda: ",\n".join(one) + ",",
            lambda: json.dumps({"data": {"rows": rows}}),
        )
    )()
    return File(dice.choice(("r.json", "r.jsonl")), _encoded(dice, text), len(rows))


def listed(dice: random.Random, rows: Rows) -> File:
    """Questions with a list of answers each, as JSON inside a CSV field or as JSON lines."""
    for row in rows:
        if dice.random() < 0.2:
            row["b"] += dice.choice(("\ud83d", "\udc00", "😀"))
    column: Any = dice.choice(("value.y", {"sql": "CAST(value.y AS INT)"}))
    where = dice.choice(({}, {"where": "q IS NULL OR LENGTH(q) > 0"}))
    table = {**where, "explode": {"field": "hits"}, "columns": {"text_a": "q", "text_b": "value.b", "label": column}}
    records = [{"q": row["a"], "hits": [{"b": row["b"], "y": row["y"]}]} for row in rows]
    if dice.random() < 0.5:
        return File("r.jsonl", "\n".join(map(json.dumps, records)).encode(), len(rows), table)
    out = io.StringIO()
    csv.writer(out).writerows([("q", "hits"), *((one["q"], json.dumps(one["hits"])) for one in records)])
    return File("r.csv", out.getvalue().encode(), len(rows), table)


def typed(dice: random.Random, rows: Rows) -> File:
    """Parquet or a workbook, with a column that nobody maps."""
    out = io.BytesIO()
    if dice.random() < 0.6:
        more = dice.choice((b"\xff\xfe", {"bytes": b"\xff", "path": "p"}, [b"\xff"], 1.5, None, [{"x": 1}]))
        pl.DataFrame({**_columns(rows), "more": [more] * len(rows)}).write_parquet(out)
        return File("r.parquet", out.getvalue(), len(rows))
    pl.DataFrame(_columns(rows)).write_excel(out, position=dice.choice(("A1", "B3")))
    return File(
        "r.xlsx", out.getvalue(), len(rows), dice.choice(({}, {"sheet": "Sheet1"}, {"sheet": "no"}, {"header_row": 9}))
    )


def damaged(dice: random.Random, file: File) -> File:
    """The file with something put in or cut off anywhere: what is left need not hold its records."""
    content = bytearray(file.content)
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(content) + 1)
        piece = dice.choice(FAULTS).encode("utf-8", "surrogatepass") if dice.random() < 0.8 else dice.randbytes(2)
        content[place:place] = piece
    return File(
        file.name, bytes(content[: dice.choice((len(content), dice.randrange(len(content) + 1)))]), 0, file.table
    )


KINDS: tuple[Callable[[random.Random, Rows], File], ...] = (delimited, by_hand, json_text, listed, typed)


def generated(seed: int) -> File:
    """The file of a seed."""
    dice = random.Random(seed)
    file = dice.choice(KINDS)(dice, rows_of(dice))
    if dice.random() < 0.1:
        file = File(
            f"{file.name}.gz",
            gzip.compress(file.content, mtime=0),
            file.records,
            file.table | {"format": _format(file)},
        )
    elif dice.random() < 0.1:
        file = File(f"{file.name}.zip", _zipped(file), file.records, file.table | {"format": _format(file)})
    return damaged(dice, file) if dice.random() < 0.4 else file


def outcome(folder: Path, file: File) -> str:
    """`read`, `rejected` or `error`, as the conversion of a file ends; raises `AssertionError` where rows are lost."""
    write(folder, file.name, file.content)
    try:
        found = run(folder, {"file": file.name, **file.table}, max_rejects=1.0)
    except RetuneError as error:
        return _checked(str(error), file)
    finally:
        (folder / "raw" / file.name).unlink()
    assert all(reject["reason"] and reject["line"] for reject in found.rejects), found.rejects
    counts = found.summary
    accounted = counts["rows"] + counts["rejected"] + counts["duplicates"] + counts.get("left_out", 0)
    assert accounted == counts["records"]
    assert counts["records"] >= file.records, f"{counts['records']} of {file.records} records: {file.content!r}"
    return "rejected" if counts["rejected"] else "read"


def _checked(said: str, file: File) -> str:
    """Whether an error names the file and is short."""
    assert file.name.removesuffix(".gz").removesuffix(".zip") in said or "no record at all" in said, f"no place: {said}"
    assert len(said) < LONGEST, f"too long: {said}"
    return "error"


def _zipped(file: File) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(file.name), file.content)
    return out.getvalue()


def _encoded(dice: random.Random, text: str) -> bytes:
    return text.encode(dice.choice(("utf-8", "utf-8", "utf-8-sig", "gb18030", "utf-16")), "surrogatepass")


def _columns(rows: Rows) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in PAIR.values()}


def _format(file: File) -> str:
    return file.name.rpartition(".")[2]


def main(count: int) -> None:
    """Convert `count` generated files; print the outcomes and every fault with its seed."""
    outcomes: Counter[str] = Counter()
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcomes[outcome(Path(folder), generated(seed))] += 1
            except AssertionError as error:
                outcomes["rows lost or no place"] += 1
                print(f"seed {seed}: {str(error)[:2000]}")
            except BaseException as error:  # polars panics are no Exception
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcomes["traceback"] += 1
                print(f"seed {seed}: {''.join(traceback.format_exception(error)[-3:])}")
    print(f"{count} files: {dict(outcomes)}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
