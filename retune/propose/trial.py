"""The proposal in a copy of the project's declarations: valid, or not written."""

from __future__ import annotations

import os
from pathlib import Path

from retune.pipeline import declarations
from retune.pipeline.declarations import DATA, PARAMS
from retune.pipeline.resolve import compiled


def warnings(root: Path, texts: dict[str, str], scratch: Path) -> list[str]:
    """What `retune check` warns of with these files in place. Raises `RetuneError` with every problem."""
    lay_out(root, texts, scratch)
    _, found = compiled(declarations.load(scratch))
    return found


def lay_out(root: Path, texts: dict[str, str], scratch: Path) -> None:
    """Links to what the project has, beside the files that are new."""
    scratch.mkdir(parents=True)
    here, data = root.absolute(), Path(DATA).parent
    for folder, without in ((Path(), {PARAMS, str(data)}), (data, {Path(DATA).name})):
        (scratch / folder).mkdir(exist_ok=True)
        for name in os.listdir(here / folder):
            if name not in without:
                (scratch / folder / name).symlink_to(here / folder / name)
    for name, text in texts.items():
        (scratch / name).write_bytes(text.encode("utf-8"))
