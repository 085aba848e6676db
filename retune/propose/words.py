"""A proposal in words: how the files were understood, what their rows are, what was unclear, what would be written."""

from __future__ import annotations

from typing import Any

import polars as pl

from retune.data import kinds
from retune.data.kinds.texts import normalised
from retune.propose import block
from retune.propose.converted import Converted
from retune.propose.draft import Draft
from retune.propose.field import Field, scripts, short
from retune.propose.files import File
from retune.propose.look import Guess
from retune.propose.models import Lengths

LISTED = 12
RARE = 10
"""Rows of a label below which a split may have none of it."""


OWN = {
    "pair": "by the smaller of a row's texts",
    "classification": "by the text",
    "ranking": "by the query",
    "scoring": "by the document",
}
"""The group of a row that names none."""


def understood(draft: Draft) -> list[str]:
    """Lines about each file: its records, and what each of its fields is taken for."""
    lines, seen = [], set[tuple[str, ...]]()
    for one, how in draft.guesses:
        split = f", official split {one.split}" if one.split else ""
        broken = f", {one.broken:,} of them broken" if one.broken else ""
        form = one.table.get("format") or one.path.name.removesuffix(".gz").rpartition(".")[2].lower()
        lines.append(f"{one.path.name}: {form}, {one.frame.height + one.broken:,} records looked at{broken}{split}")
        lines += [f"  {note}" for note in one.notes]
        if one.signature in seen:
            lines.append("  the same fields as before")
            continue
        seen.add(one.signature)
        lines += _fields(one, how)
    return lines


def _fields(one: File, how: Guess) -> list[str]:
    becomes: dict[str, list[str]] = {}
    for column, name, reason in how.why:
        for part in name.split(" + "):
            becomes.setdefault(part, []).append(f"{column} ({short(reason)})")
    width = max(min(len(short(name, 40)), 40) for name in one.fields)
    looks = {name: look(field) for name, field in one.fields.items()}
    wide = max(map(len, looks.values()))
    return [
        f"  {short(name, 40):{width}}  {looks[name]:{wide}}  -> {'; '.join(becomes.get(name, ['not used']))}"
        for name in one.fields
    ]


def look(one: Field) -> str:
    """`text, 13 characters, 33,000 values`."""
    if one.shape == "empty":
        return "empty"
    said = f"{one.shape}, {one.distinct:,} values"
    if one.shape == "number":
        said = f"{'whole' if one.whole else 'fractional'} numbers {one.low:g} to {one.high:g}, {one.distinct:,} values"
    elif one.shape in ("text", "list"):
        said += f", {one.mean:.0f} characters"
    missing = one.rows - one.filled
    return said + (f", {missing:,} empty" if missing else "")


def rows(draft: Draft, found: Converted, lengths: Lengths) -> list[str]:
    """Lines about the rows that the build would make."""
    counts, table = found.summary, found.rows
    kind = kinds.of(draft.task["kind"])
    lines = [
        f"rows: {counts['rows']:,} from {counts['records']:,} records; {counts['rejected']:,} rejected, "
        f"{counts['duplicates']:,} exact duplicates left out, {counts['conflicts']:,} texts with conflicting targets"
    ]
    lines += [f"  rejected: {count:,} since {short(why, 120)}" for why, count in list(counts["reasons"].items())[:3]]
    lines += [f"  for example {one['file']}:{one['line']}: {short(one['reason'], 120)}" for one in found.rejects[:1]]
    if "max_rejects" in draft.task:
        lines.append(f"  that is more than 1 %, so the task forgives {draft.task['max_rejects']:.0%} (`max_rejects`)")
    lines += _targets(draft, counts["targets"], kind.TARGET)
    if counts["splits"]:
        lines.append("official splits: " + ", ".join(f"{name} {count:,}" for name, count in counts["splits"].items()))
    written = [name for name in kind.TEXTS if table[name].dtype == pl.String]
    for name in written:
        shares = ", ".join(
            f"{language} {share:.0%}" for language, share in scripts(table[name]).items() if share >= 0.005
        )
        sizes = table[name].str.len_chars()
        lines.append(
            f"{name}: {shares}; {int(sizes.quantile(0.5) or 0)} characters in the middle, {max(sizes):,} at most, "
            f"{table[name].n_unique():,} different"
        )
    how = "" if lengths.exact else " (estimated: the base is not built)"
    if "encoder" in kind.LEARNERS:
        lines.append(
            f"tokens for the encoder{how}: {lengths.median} in the middle, {lengths.most} in 95 % of the rows, "
            f"{lengths.longest} at most; {lengths.cut:.1%} of the rows are cut at max_length {lengths.limit}"
        )
    return lines + _groups(draft, table, written)


def _targets(draft: Draft, counts: dict[str, int], target: str) -> list[str]:
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    more = f", and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    lines = [f"{target}: " + ", ".join(f"{short(v, 30)} {c:,}" for v, c in ordered[:LISTED]) + more]
    rare = (
        [value for value, count in ordered if count < RARE] if draft.task["kind"] in ("pair", "classification") else []
    )
    if rare:
        listed = ", ".join(short(value, 30) for value in rare[:5]) + (" ..." if len(rare) > 5 else "")
        lines.append(
            f"  {len(rare)} labels have less than {RARE} rows ({listed}): a split may have none of them; merge them "
            "by a `map` of `label` in the catalog, or add rows"
        )
    return lines


def _groups(draft: Draft, table: pl.DataFrame, written: list[str]) -> list[str]:
    groups = table["group"].n_unique()
    named = [columns["group"] for columns in (t["columns"] for t in draft.source["tables"]) if "group" in columns]
    said = f"by `{named[0]}`" if named else OWN[draft.task["kind"]]
    lines = [f"groups that no split divides: {groups:,}, {said}"]
    if maybe := next((how.group for _, how in draft.guesses if how.group), None):
        lines.append(f"  `{maybe}` may be a better one: `--group {maybe}` keeps its rows in one split")
    if draft.task["kind"] == "pair" and not named:
        both = pl.concat([table.select(normalised(name).alias("text"), pl.col("id")) for name in written])
        ids = both.filter(pl.col("text").is_duplicated())["id"].n_unique()
        if ids > 0.1 * len(table):
            lines.append(
                f"  {ids / len(table):.0%} of the rows share a text with another row: `groups: connected` or "
                "`drop_shared: true` under `split` keeps them apart (docs/data.md)"
            )
    return lines


def yaml_of(draft: Draft) -> list[str]:
    """What would be written, file by file."""
    return [
        "data/catalog.yaml",
        block.text({draft.name: draft.source}, 2).rstrip(),
        "params.yaml",
        block.text({"tasks": {draft.name: draft.task}, "models": draft.models}, 2).rstrip(),
    ]


def unclear(draft: Draft) -> list[str]:
    """What was a choice that may be wrong, with the option that decides."""
    return [f"unclear: {short(sentence, 400)}" for sentence in draft.ambiguous]


def as_json(draft: Draft, found: Converted) -> dict[str, Any]:
    """The proposal for programs."""
    return {
        "name": draft.name,
        "source": draft.source,
        "task": draft.task,
        "models": draft.models,
        "unclear": draft.ambiguous,
        "counts": {key: found.summary[key] for key in ("records", "rows", "rejected", "duplicates", "conflicts")},
        "targets": found.summary["targets"],
    }
