"""More training rows from those there are: texts swapped, words and characters altered, labels carried over."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from retune import stable_hash
from retune.data.augmentation import homophones, synonyms
from retune.data.kinds.texts import normalised
from retune.data.shared_texts import unordered

if TYPE_CHECKING:
    from retune.data.kinds.protocol import Kind
    from retune.params import Params

MARKER = re.compile(r"\[SEP\]")
"""What parts the turns of a dialogue; no method touches it."""


def augment(rows: pl.LazyFrame, spec: Params, kind: Kind) -> list[pl.LazyFrame]:
    """The rows with `origin` "original", then the altered ones: a frame for each method that `spec` uses.

    `spec` is the `augmentation` section of a task, `kind` its module of retune/data/kinds. A row is altered by a method
    where a hash of (seed, method, id) falls below the share of its label, so other rows never change the choice. An
    altered row keeps group, label and official split, and its id is the first row's plus "+METHOD". Rows of an official
    split other than train are left alone; alterations that change no text are skipped. The frames stay apart, for
    polars would run the inputs of a concatenation at once and hold what comes out of turn.
    """
    open_rows = rows.filter(pl.col("split").is_null() | (pl.col("split") == "train"))
    parts = [rows.with_columns(pl.lit("original").alias("origin"))]
    if spec.get("swap"):
        first, second = kind.TEXTS
        chosen = _chosen(open_rows, "swap", spec, kind).filter(pl.col(first) != pl.col(second))
        parts.append(_derived(chosen.with_columns(pl.col(second).alias(first), pl.col(first).alias(second)), "swap"))
    for method, alter in METHODS.items():
        if spec.get(method):
            chosen = _chosen(open_rows, method, spec, kind)
            parts.append(_derived(_altered(chosen, list(kind.TEXTS), alter, spec.strength, spec.seed), method))
    if spec.get("transitive"):
        parts.append(_transitive(rows, open_rows, spec.transitive, spec.seed, kind.TEXTS))
    return parts


def clashing(rows: pl.LazyFrame, kind: Kind) -> pl.Series:
    """Ids of the altered rows that must not stand: they say what another row says.

    That is an original row other than the one they come from, in whatever split it will be; or an altered row with
    another target. Texts are compared normalised, and in either order where they may change places.
    """
    plain = [normalised(column).alias(column) for column in kind.TEXTS]
    key = unordered(kind.TEXTS) if kind.SYMMETRIC else pl.concat_str(kind.TEXTS, separator="\x1f")
    table = rows.select("id", "origin", kind.binned().alias("target"), *plain)
    table = table.select("id", "origin", "target", key.hash().alias("key"))
    every = table.collect(engine="streaming")
    original = pl.col("origin") == "original"
    source = pl.col("id").str.strip_suffix(pl.concat_str(pl.lit("+"), "origin"))
    altered = every.filter(~original).with_columns(source=source)
    known = every.filter(original).select("key", other="id")
    first = altered.join(known, on="key").filter(pl.col("source") != pl.col("other"))
    second = altered.filter(pl.col("target").n_unique().over("key") > 1)
    return pl.concat([first["id"], second["id"]]).unique().sort()


def delete(text: str, strength: float, *key: object) -> str:
    """The text without a share `strength` of its characters (at least one, never all), chosen by a hash of the key.

    Random deletion of EDA (Wei and Zou 2019), by character.
    """
    places = _open(text)
    gone = {places[i] for i in _places(len(places), min(_count(len(text), strength), len(places) - 1), key)}
    shorter = "".join(character for place, character in enumerate(text) if place not in gone)
    return shorter if shorter.strip() else text


def exchange(text: str, strength: float, *key: object) -> str:
    """The text with neighbouring characters exchanged at a share `strength` of its places, at least one.

    Random swap of EDA (Wei and Zou 2019), by character and between neighbours, so that a slip of typing results.
    """
    characters, free = list(text), set(_open(text))
    places = [place for place in range(len(text) - 1) if {place, place + 1} <= free]
    for i in _places(len(places), min(_count(len(text), strength), len(places)), key):
        place = places[i]
        characters[place : place + 2] = characters[place + 1], characters[place]
    return "".join(characters)


def synonym(text: str, strength: float, *key: object) -> str:
    """The text with a share `strength` of its known words (at least one) replaced by synonyms (EDA)."""
    words = [word for word in synonyms.known(text) if word.others]
    return synonyms.replaced(text, [words[i] for i in _some(len(words), strength, key)], *key)


def insert(text: str, strength: float, *key: object) -> str:
    """The text with synonyms of a share `strength` of its known words (at least one) put in at random places (EDA)."""
    known = synonyms.known(text)
    words = [word for word in known if word.others]
    whole = [*known, *(synonyms.Word(*marker.span(), ()) for marker in MARKER.finditer(text))]
    return synonyms.inserted(text, [words[i] for i in _some(len(words), strength, key)], whole, *key)


def homophone(text: str, strength: float, *key: object) -> str:
    """The text with a share `strength` of its common Chinese characters (at least one) replaced by homophones."""
    places = homophones.known(text)
    return homophones.replaced(text, sorted(places[i] for i in _some(len(places), strength, key)), *key)


METHODS = {"synonym": synonym, "insert": insert, "homophone": homophone, "delete": delete, "exchange": exchange}
"""The methods that alter each text of a row, in the order of their rows."""


def _open(text: str) -> list[int]:
    """The places outside of markers."""
    closed = {place for marker in MARKER.finditer(text) for place in range(*marker.span())}
    return [place for place in range(len(text)) if place not in closed]


def _some(length: int, strength: float, key: tuple[object, ...]) -> list[int]:
    """A share of `length` things, by number; at least one where there is one."""
    return sorted(_places(length, min(_count(length, strength), length), key))


def _count(length: int, strength: float) -> int:
    return max(1, round(length * strength)) if strength > 0 else 0


def _places(length: int, count: int, key: tuple[object, ...]) -> list[int]:
    """`count` different places below `length`, in random order (Fisher-Yates)."""
    order = list(range(length))
    for place, number in enumerate(stable_hash.numbers(count, *key)):
        other = place + number % (length - place)
        order[place], order[other] = order[other], order[place]
    return order[:count]


def _chosen(rows: pl.LazyFrame, method: str, spec: Params, kind: Kind) -> pl.LazyFrame:
    """The rows that a method alters: their number in [0, 1) lies below the share of their label, or of all."""
    shares = spec[method]
    share: pl.Expr = pl.lit(shares, pl.Float64)
    if isinstance(shares, dict):
        share = kind.binned().replace_strict(shares, default=0.0, return_dtype=pl.Float64)
    return rows.filter(share > 0).filter(stable_hash.units(pl.col("id"), "augment", spec.seed, method) < share)


def _derived(rows: pl.LazyFrame, method: str) -> pl.LazyFrame:
    return rows.with_columns(pl.col("id") + f"+{method}", pl.lit(method).alias("origin"))


def _altered(
    rows: pl.LazyFrame, texts: list[str], alter: Callable[..., str], strength: float, seed: int
) -> pl.LazyFrame:
    """Every text of the rows altered; rows in which none changes are left out."""

    def column(name: str) -> pl.Expr:
        def batch(pairs: pl.Series) -> pl.Series:
            values = [alter(pair[name], strength, seed, pair["id"], name) for pair in pairs]
            return pl.Series(name, values, pl.String)

        return pl.struct("id", name).map_batches(batch, pl.String, is_elementwise=True).alias(f"new {name}")

    new = rows.with_columns(column(name) for name in texts)
    changed = pl.any_horizontal(pl.col(name) != pl.col(f"new {name}") for name in texts)
    return (
        new.filter(changed)
        .with_columns(pl.col(f"new {name}").alias(name) for name in texts)
        .drop(f"new {name}" for name in texts)
    )


def _transitive(
    rows: pl.LazyFrame, open_rows: pl.LazyFrame, share: float, seed: int, texts: tuple[str, ...]
) -> pl.LazyFrame:
    """Rows a~c for a~b and b~c of one group, where no row has a and c already (in either order, with any label)."""
    a, b = texts
    same = open_rows.filter((pl.col("label") == 1) & (pl.col(a) != pl.col(b)))
    ends = [same.select("group", "split", middle=middle, end=end) for middle, end in ((a, b), (b, a))]
    paths = pl.concat(ends)
    pairs = paths.join(paths, on=["group", "middle"], suffix="_2").filter(pl.col("end") < pl.col("end_2"))
    pairs = pairs.group_by("end", "end_2").agg(pl.col("group").min(), pl.col("split").drop_nulls().first())
    known = rows.select(end=pl.min_horizontal(a, b), end_2=pl.max_horizontal(a, b))
    key = stable_hash.digests(pl.concat_str("end", "end_2", separator="\x1f"))
    pairs = pairs.join(known, on=["end", "end_2"], how="anti").with_columns(key.alias("id")).sort("id")
    chosen = pairs.filter(stable_hash.units(pl.col("id"), "augment", seed, "transitive") < share)
    schema = rows.collect_schema()
    values = {
        "id": pl.col("id") + "+transitive",
        "label": pl.lit(1),
        a: pl.col("end"),
        b: pl.col("end_2"),
        "split": pl.col("split"),
    }
    columns = [
        values.get(n, pl.col("group") if n == "group" else pl.lit(None)).cast(t).alias(n) for n, t in schema.items()
    ]
    return chosen.select(*columns, pl.lit("transitive").alias("origin"))
