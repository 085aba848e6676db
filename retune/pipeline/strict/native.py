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
        for said in _reasons(guard, one):
            if said:
                return said
    return None


def _reasons(guard: Guard, error: BaseException) -> Iterator[str | None]:
    """What the rules say of each path that may be the error's: of files first, then of what is not there, of folders.

    safetensors says "no such file" of whatever it can't open, with the name.
    """
    named = [os.path.abspath(path) for path in _named(error)]
    if isinstance(error, FileNotFoundError):
        yield from (guard.read(path) for path in named if os.path.isfile(path))
    elif getattr(error, "errno", None) in (errno.EACCES, errno.EXDEV) or DENIED.search(str(error)):
        paths = [*named, *(os.path.abspath(path) for path in _held(error))]
        yield from (guard.read(path) for path in paths if os.path.isfile(path))
        new = (path for path in paths if not os.path.exists(path) and "." in os.path.basename(path))
        yield from (guard.write(path) for path in new if os.path.isdir(os.path.dirname(path)))
        yield from (guard.lists(path) for path in paths if os.path.isdir(path))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _named(error: BaseException) -> Iterator[str]:
    """The paths in an error's fields and in its text."""
    for name in (getattr(error, "filename", None), getattr(error, "filename2", None)):
        if isinstance(name, str | bytes | Path):
            yield os.fsdecode(name)
    yield from QUOTED.findall(str(error)[:LONGEST])


def _held(error: BaseException) -> Iterator[str]:
    """The paths among the values of its frames and the texts in their code, innermost first."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        for value in (*frame.f_locals.values(), *frame.f_code.co_consts):
            for one in value if isinstance(value, list | tuple | set) else (value,):
                if isinstance(one, Path) or (isinstance(one, str) and 0 < len(one) < LONGEST and one.isprintable()):
                    yield str(one)
