"""Whether a CSV record that goes over several lines is one, or a stray quote that swallowed the records behind it.

By the letter of the format both look alike: `"5 inch,tv,1`, hundreds of rows, `screen 5",tv,1` is a quoted field that
closes as it should. What tells them apart is that the swallowed lines are whole records by themselves.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

FEW = 3
"""Lines of a record that is taken as it stands, unless numbers stand where its lines, read alone, have numbers too."""

EARLY = 20
"""Lines after which a record is given up early, where each of them is a record by itself."""

ALIKE, MOSTLY = 0.95, 0.5
"""Share of lines that must be records by themselves, in a record that is right otherwise and in a broken one."""


def swallowed(lines: Sequence[str], separator: str, width: int, record: Sequence[str] | None) -> bool:
    """Whether the physical `lines` of a record of `width` fields are records that a stray quote swallowed.

    `record` is what they read as together; None where that is broken anyway, so that less must be shown.
    """
    alone = [fields(line, separator) for line in lines if line.strip()]
    if width < 2 or len(alone) < 2:
        return False
    empty_end = not alone[0][-1].strip()
    good = [len(one) == width and (empty_end or bool(one[-1].strip())) for one in alone]
    if record is None:
        return sum(good[1:]) >= MOSTLY * len(good[1:]) and (good[0] or len(good) > FEW)
    if not good[0] or sum(good) < (1.0 if len(good) <= EARLY else ALIKE) * len(good):
        return False
    numbers = [place for place, text in enumerate(record) if _is_number(text)]
    if numbers:
        like = [one for one, fits in zip(alone, good, strict=True) if fits]
        return all(_is_number(one[place]) for one in like for place in numbers)
    return len(good) > FEW


def fields(line: str, separator: str) -> list[str]:
    """The fields of a line read alone; a quote that does not close in it is a plain character."""
    line = line.rstrip("\r\n")
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error as error:
        found = next(csv.reader([line], delimiter=separator), [])
        return found[:-1] + found[-1].split(separator) if "end of data" in str(error) else found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
