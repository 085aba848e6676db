"""The folder of a project, which most commands are run in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retune.errors import RetuneError

PARAMS = "params.yaml"


def missing() -> str:
    """What to do where this folder is no project; nothing where it is one."""
    if Path(PARAMS).exists():
        return ""
    around = next((folder for folder in Path.cwd().parents if (folder / PARAMS).is_file()), None)
    return f"there is no {PARAMS} here: run the command in the folder of a project" + (f", {around}" if around else "")


def check() -> None:
    """Raise `RetuneError` where this folder is no project."""
    if said := missing():
        raise RetuneError(said)


def needed(command: Callable[..., None]) -> Callable[..., None]:
    """The command, refused outside of a project."""

    @functools.wraps(command)
    def checked(**arguments: Any) -> None:
        check()
        command(**arguments)

    return checked
