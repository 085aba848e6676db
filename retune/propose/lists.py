"""A query with a list of documents that answer it and one of those that do not, as data for retrieval has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from retune.data.convert import join_explode
from retune.data.convert.typed_records import Records
from retune.propose.field import Field
from retune.propose.look import Guess, Said

PAIRS = (
    ("pos", "neg"),
    ("positive", "negative"),
    ("positives", "negatives"),
    ("positive_passages", "negative_passages"),
)
"""What such lists are called."""


def exploded(records: Records, names: Sequence[str]) -> tuple[Records, dict[str, Any]] | None:
    """The records with one for each document, and the `explode` of the table; None where there are no such lists."""
    for good, bad in PAIRS:
        if good in names and bad in names and not {"key", "value"} & set(names):
            spec = {"field": {good: 1, bad: 0}}
            return join_explode.explode(records, spec), spec
    return None


def said(table: Mapping[str, Any], fields: Mapping[str, Field], said: Said) -> Said:
    """What the lists say of the columns of a ranking, where the user says nothing else: the first text is the query."""
    texts = [one.name for one in fields.values() if one.shape in ("text", "name") and one.name != "value"]
    if "explode" not in table or not texts or said.columns or said.kind not in (None, "ranking"):
        return said
    columns = {"query": texts[0], "document": "value", "relevance": "key"}
    return replace(said, kind="ranking", columns=columns)


def explained(table: Mapping[str, Any], how: Guess) -> Guess:
    """The guess, whose columns the lists say and not the user."""
    if "explode" not in table:
        return how
    why = [(column, name, reason.replace("as --column says", "by its lists")) for column, name, reason in how.why]
    return replace(how, why=why)
