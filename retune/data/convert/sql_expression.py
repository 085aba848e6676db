"""SQL expressions of a mapping, over the fields of one record, as polars understands them.

polars would read files for a subquery (`SELECT ... FROM read_csv('...')`), already when it parses one. So a text
reaches polars only if it is made of names, numbers, plain texts, operators and the functions that are listed here:
none of them reads a file, looks at another record, at the clock or at chance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import polars as pl

from retune.errors import RetuneError, nearest

KNOWN = {
    "abs", "cbrt", "ceil", "ceiling", "div", "exp", "floor", "greatest", "least", "ln", "log", "log10", "log1p",
    "log2", "mod", "pow", "power", "round", "sign", "sqrt", "bit_length", "char_length", "character_length",
    "concat", "concat_ws", "ends_with", "initcap", "left", "length", "lower", "ltrim", "octet_length",
    "normalize", "regexp_like", "replace", "reverse", "right", "rtrim", "split_part", "starts_with", "strpos",
    "strptime", "strftime", "substr", "substring", "trim", "upper", "array_contains", "array_get",
    "array_length", "array_to_string", "string_to_array", "coalesce", "if", "ifnull", "nullif", "cast",
    "try_cast", "date", "date_part", "datetime", "decimal", "numeric", "varchar",
}  # fmt: skip
"""Functions that look at one record, and types that take a number in brackets."""

BEFORE_BRACKETS = {
    "and", "or", "not", "in", "between", "like", "ilike", "rlike", "regexp", "case", "when", "then", "else", "is",
}  # fmt: skip
"""Words that are no functions where `(` follows."""

REFUSED = {
    **dict.fromkeys(("select", "from", "table", "values", "with", "exists", "union"), "looks elsewhere"),
    **dict.fromkeys(("over", "unnest", "columns", "exclude", "filter"), "looks at more than one value of one record"),
    **dict.fromkeys(
        ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"), "is not the same tomorrow"
    ),
}
"""Words that an expression must not have, and why; in double quotes each is the name of a field."""

TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\w))
    |(?P<name>\$?[^\W\d]\w*(?:\.\w+)*)(?!['"])
    |(?P<text>'(?:[^'\\]|''|\\(?!'))*')(?!['"\w])
    |(?P<quoted>"[^"]+")(?!['"\w])
    |(?P<comment>--|/\*)
    |(?P<sign>::|[-+*/%=<>!|~(),])""",
    re.VERBOSE,
)
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

TEXTUAL = (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Time, pl.Decimal, pl.Null)
"""Types of a result that have a text, beside numbers."""


@dataclass(frozen=True)
class Expression:
    """An expression that was checked: as polars has it, and the names of the fields that it reads."""

    text: str
    polars: pl.Expr
    fields: tuple[str, ...]


@cache
def parsed(text: str, condition: bool = False) -> Expression:
    """The expression of a text; a `condition` must be true or false.

    Raises `RetuneError` for what polars does not understand, and for all that looks at more than one record.
    """
    written = _written(text)
    try:
        expr = pl.sql_expr(written)
        names = tuple(dict.fromkeys(expr.meta.root_names()))
        found = pl.DataFrame(schema=dict.fromkeys(names, pl.String)).select(expr)
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise RetuneError(f"{_reason(error)}: `{text}`") from None
    except pl.exceptions.PanicException as error:
        raise RetuneError(f"polars can't evaluate this ({_reason(error)}): `{text}`") from None
    if found.width != 1:
        raise RetuneError(f"it gives {found.width} values, not one: `{text}`")
    dtype = found.dtypes[0]
    if condition and dtype not in (pl.Boolean, pl.Null):
        raise RetuneError(f"it gives {dtype}, but must be true or false, as `a = 'x'` is: `{text}`")
    if not (dtype.is_numeric() or dtype.base_type() in TEXTUAL):
        raise RetuneError(f"it gives {dtype}, but a column is one text or number (ARRAY_TO_STRING joins): `{text}`")
    return Expression(text, expr, names)


def evaluated(rows: pl.DataFrame, expression: Expression) -> pl.DataFrame:
    """`value`, the result as text (whole numbers without `.0`), and `problem`, why a row has none, of rows of texts."""
    found, problems = _values(rows, expression.polars)
    dtype = found.dtype
    value = pl.col("value").cast(pl.String)
    if dtype.is_float():
        finite = pl.col("value").is_finite()
        problems = pl.coalesce(problems, pl.when(~finite).then(pl.lit("gives no finite number")))
        value = pl.when(finite).then(value.str.replace(r"^(-?\d+)\.0$", "$1"))
    return found.alias("value").to_frame().select(value.alias("value"), problems.alias("problem"))


def _values(rows: pl.DataFrame, expr: pl.Expr) -> tuple[pl.Series, pl.Expr]:
    """The result for each row, and what is wrong where it has none."""
    try:
        return rows.lazy().with_columns(expr.alias("$value")).collect()["$value"], pl.lit(None, pl.String)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        good, bad = _divided(rows.with_row_index("$at"), expr)
    values = pl.concat([frame.select("$at", "$value") for frame in good], how="vertical_relaxed") if good else None
    said = pl.DataFrame(bad, schema={"$at": pl.UInt32, "problem": pl.String}, orient="row")
    every = pl.DataFrame({"$at": pl.int_range(rows.height, dtype=pl.UInt32, eager=True)}).join(said, "$at", "left")
    if values is None:
        return pl.Series("value", [None] * rows.height, pl.String), pl.lit(every["problem"])
    found = every.join(values, "$at", "left", maintain_order="left")
    return found["$value"], pl.lit(found["problem"])


def _divided(rows: pl.DataFrame, expr: pl.Expr) -> tuple[list[pl.DataFrame], list[tuple[int, str]]]:
    """The rows in halves until one alone fails: frames with `$at` and `$value`, and (`$at`, reason)."""
    try:
        return [rows.lazy().with_columns(expr.alias("$value")).collect()], []
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if rows.height == 1:
            return [], [(rows["$at"].item(), _reason(error))]
    half = rows.height // 2
    (good, bad), (more, worse) = _divided(rows.head(half), expr), _divided(rows.slice(half), expr)
    return good + more, bad + worse


def _written(text: str) -> str:
    """The expression as polars takes it: names with dots, `$` or other letters than ASCII in double quotes.

    Raises `RetuneError` where it holds anything but what this module allows.
    """
    pieces: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        token = TOKEN.match(text, place)
        if token is None or token.lastgroup == "comment":
            shown = text[place : place + 10]
            raise RetuneError(f"`{shown}` can't stand here; a field with other signs needs double quotes: `{text}`")
        pieces.append((str(token.lastgroup), token[0]))
        place = token.end()
    if not text.strip():
        raise RetuneError("the expression is empty")
    _refuse(text, [piece for piece in pieces if piece[0] != "space"])
    return "".join(f'"{piece}"' if kind == "name" and not PLAIN.fullmatch(piece) else piece for kind, piece in pieces)


def _refuse(text: str, pieces: list[tuple[str, str]]) -> None:
    """Raise `RetuneError` for a word or function that sees more than one record."""
    before = ""
    for (kind, piece), (_, following) in zip(pieces, [*pieces[1:], ("", "")], strict=True):
        word = piece.lower()
        if kind == "name" and word in REFUSED and (before, word) != ("distinct", "from"):
            raise RetuneError(f"`{piece}` {REFUSED[word]}, and an expression sees one record alone: `{text}`")
        if following == "(" and (kind == "quoted" or (kind == "name" and word not in KNOWN | BEFORE_BRACKETS)):
            hint = nearest(word, sorted(KNOWN))
            raise RetuneError(f"`{piece}` is no function that looks at one record alone{hint}: `{text}`")
        before = word


CAST = re.compile(r"(conversion from `[^`]+` to `[^`]+` failed).*? values?: \['?([^']*)")
"""What polars says of one value that is no number, or no date."""

SHOWN = 40
"""Characters of a value that a reason shows."""


def _reason(error: BaseException) -> str:
    """The first line of what polars says, and the remedy where a text is taken for a number."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace('"', "'")
    if cast := CAST.match(said):
        return f'{cast[1]}: "{cast[2].strip()[:SHOWN]}"'
    if "compare string with numeric" in said or "not supported for dtype" in said or "on column" in said:
        said += " (fields are texts: CAST(field AS DOUBLE) is a number)"
    return said
