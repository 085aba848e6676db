"""Files that are already on this machine: listed, hashed (with a memory of past hashes) and copied.

`resolve` calls `list_files` and `hash_file` on every run, so this module imports the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from retune.errors import RetuneError
from retune.params import STATE

MEMORY = STATE / "hashes.json"
"""Path, size and modification time -> SHA-256, so an unchanged data set is not read again."""


def expand(path: str | Path) -> Path:
    """Replace `~` and `$NAME` in a path; raises `RetuneError` where a variable is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise RetuneError(f"`{path}` needs the environment variable {name}, which is not set: set it to a folder")
        return os.environ[name]

    return Path(re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, str(path))).expanduser()


def list_files(path: str | Path) -> dict[str, Path]:
    """Map relative name -> file, sorted, for a folder (hidden files left out) or for one file.

    Raises `RetuneError` where there is nothing.
    """
    root = expand(path)
    if root.is_file():
        return {root.name: root}
    if not root.is_dir():
        raise RetuneError(f"{root} does not exist: put the files there, or correct `path` in the catalog")
    found = {}
    for file in sorted(root.rglob("*")):
        relative = file.relative_to(root)
        if file.is_file() and not any(part.startswith(".") for part in relative.parts):
            found[relative.as_posix()] = file
    if not found:
        raise RetuneError(f"{root} holds no files: put the files there, or correct `path` in the catalog")
    return found


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file, from `.retune/hashes.json` where path, size and time of change are as they were."""
    file = Path(path)
    stat = file.stat()
    key, seal = os.path.abspath(file), [stat.st_size, stat.st_mtime_ns]
    memory = _memory()
    if key in memory and memory[key][:2] == seal:
        return str(memory[key][2])
    digest = sha256(file)
    memory[key] = [*seal, digest]
    MEMORY.parent.mkdir(parents=True, exist_ok=True)
    part = MEMORY.with_name(f"{MEMORY.name}.{os.getpid()}")
    part.write_text(json.dumps(memory, indent=0))
    part.replace(MEMORY)
    return digest


def _memory() -> dict[str, list[int | str]]:
    try:
        memory = json.loads(MEMORY.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return memory if isinstance(memory, dict) else {}


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, read anew."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
