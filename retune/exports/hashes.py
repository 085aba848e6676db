"""SHA-256 of an export's files: what parity.json was proven of, so that nothing else is published under its name."""

from __future__ import annotations

import hashlib
from pathlib import Path

LEFT_OUT = ("README.md", "parity.json")
"""Written after the proof, for people: no loader reads them."""


def files(folder: Path) -> dict[str, Path]:
    """Name in the folder -> file, sorted; all of them."""
    found = (file for file in folder.rglob("*") if not file.is_dir())
    return {file.relative_to(folder).as_posix(): file for file in sorted(found)}


def of(folder: Path) -> dict[str, str]:
    """Name in the folder -> SHA-256, of all that answers depend on."""
    return {name: sha256(file) for name, file in files(folder).items() if name not in LEFT_OUT}


def sha256(file: Path) -> str:
    """The hash of one file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
