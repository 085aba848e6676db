"""The hash of a file or a folder as DVC writes it into dvc.lock, without DVC."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def of(path: Path) -> str:
    """MD5 of a file's bytes; of a folder, of the list of its files' names and hashes, with `.dir` behind it.

    What .dvcignore leaves out is not left out here: for inputs and outputs of stages, which hold nothing of it.
    """
    if not path.is_dir():
        return of_file(path)
    listed = json.dumps(listing(path), sort_keys=True)
    return f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir"


def listing(folder: Path) -> list[dict[str, str]]:
    """Name and hash of each file below a folder, as an object of DVC's cache lists them."""
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return [{"md5": of_file(folder / name), "relpath": name} for name in names]


def of_file(path: Path) -> str:
    """MD5 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
