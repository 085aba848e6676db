"""The sentence for a refusal that a library met: the kernel says "permission denied", and rarely of which file."""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from retune.pipeline.strict.guard import Guard, Undeclared

DENIED = re.compile(r"permission denied|operation not permitted|os error (?:13|18)\b|cross-device link", re.I)
QUOTED = re.compile(r"[\w./~+-]*[\w/-]\.?[\w/-]+")
LONGEST = 4096


def explain(guard: Guard, error: BaseException) -> str | None:
    """What a stage's failure says of a file that it does not declare; None where it is about something else."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, Undeclared):
            return str(one)
    for one in chain:
        if (isinstance(one, OSError) and one.errno in (errno.EACCES, errno.EXDEV)) or DENIED.search(str(one)):
            for path in dict.fromkeys(_candidates(one)):
                if said := _about(guard, path):
                    return said
    return None


def _about(guard: Guard, path: str) -> str | None:
    """Why the file can't be used: it is there and may not be read, or its folder is there and may not be written."""
    full = os.path.abspath(path)
    if os.path.isfile(full):
        return guard.read(full)
    if os.path.isdir(full):
        return guard.lists(full)
    return guard.write(full) if os.path.isdir(os.path.dirname(full)) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _candidates(error: BaseException) -> Iterator[str]:
    """Paths that the error names, in its fields and in its text; then those that its frames hold, innermost first."""
    for name in (getattr(error, "filename", None), getattr(error, "filename2", None)):
        if isinstance(name, str | bytes | Path):
            yield os.fsdecode(name)
    yield from QUOTED.findall(str(error)[:LONGEST])
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        for value in frame.f_locals.values():
            for one in value if isinstance(value, list | tuple | set) else (value,):
                if isinstance(one, Path) or (isinstance(one, str) and 0 < len(one) < LONGEST and "\n" not in one):
                    yield str(one)
