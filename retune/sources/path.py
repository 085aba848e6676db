"""Files that are already on this machine: listed, and hashed with a memory of past hashes.

A source or checkpoint of kind `path` lies below `data/external`, which DVC watches for `resolve`; or elsewhere, where
the stage `watch` looks for changes on every build. Both hash on every run, so this module imports the standard library
only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from retune.errors import RetuneError
from retune.params import EXPERIMENTS, STATE

WATCHED = Path("data/external")
"""The folder of `path` entries, relative to the project: a dependency of `resolve` in dvc.yaml."""

OUTSIDE = Path("data/outside.json")
"""Which entries lie outside of it, written by `resolve`: dvc.yaml makes a stage `watch` for each."""

MEMORY = STATE / "hashes.json"
"""Path -> what `os.stat` says of the file, and its SHA-256, so an unchanged data set is not read again."""

SETTLED_NS = 2_000_000_000
"""A file that changed less than this long ago may change again within the tick of its clock: not remembered."""


def expand(path: str | Path) -> Path:
    """Replace `~` and `$NAME` in a path; raises `RetuneError` where a variable is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise RetuneError(f"`{path}` needs the environment variable {name}, which is not set: set it to a folder")
        return os.environ[name]

    return Path(re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, str(path))).expanduser()


def is_outside(path: str, project: Path) -> bool:
    """Whether a catalog's path lies where DVC sees no changes: not below `WATCHED`, or behind a link to a folder."""
    relative = Path(os.path.normpath(path))
    if relative.is_absolute() or not relative.is_relative_to(WATCHED):
        return True
    return any(
        (project / part).is_symlink() and not (project / part).is_file() for part in (relative, *relative.parents)
    )


def hashes(path: str | Path, patterns: Iterable[str] | None, project: Path = Path()) -> dict[str, str]:
    """Relative name -> SHA-256 of the files that `list_files` finds."""
    return {name: hash_file(file) for name, file in list_files(project / expand(path), patterns).items()}


def list_files(path: str | Path, patterns: Iterable[str] | None = None) -> dict[str, Path]:
    """Map relative name -> file, sorted, for one file or for a folder: those that `patterns` (names, globs) name.

    Hidden files and Office's lock files (`~$data.xlsx`) are left out. Raises `RetuneError` where there is nothing,
    where nothing fits a pattern, for a link to nowhere, and for one to a folder below the root, which nobody follows.
    """
    root = expand(path)
    if root.is_symlink() and not root.exists():
        raise RetuneError(_of_link(root))
    if root.is_file():
        return {root.name: root}
    if not root.is_dir():
        raise RetuneError(_absent(root))
    found = _files(root)
    if not found:
        raise RetuneError(f"{root} holds no files: put the files there, or correct `path` in the catalog")
    if patterns is not None:
        chosen: set[str] = set()
        for pattern in patterns:
            literal = Path(pattern).as_posix()
            fits = {literal} & found.keys()
            fits = fits or {file.relative_to(root).as_posix() for file in root.glob(pattern)} & found.keys()
            if not fits:
                there = ", ".join(list(found)[:10])
                text = f"no file in {root} fits `{pattern}` (there are: {there}); correct `file` of the table"
                raise RetuneError(text)
            chosen |= fits
        found = {name: file for name, file in found.items() if name in chosen}
    for file in found.values():
        if not file.exists():
            raise RetuneError(_of_link(file))
    return found


def _files(root: Path) -> dict[str, Path]:
    """Relative name -> file below a folder, links to nowhere among them.

    Raises `RetuneError` for a linked folder, `OSError` for one that may not be listed.
    """
    found = {}
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if (Path(folder) / name).is_symlink():
                raise RetuneError(_of_link(Path(folder) / name))
        for name in names:
            file = Path(folder) / name
            if not name.startswith((".", "~$")) and (file.is_file() or not file.exists()):
                found[file.relative_to(root).as_posix()] = file
    return dict(sorted(found.items()))


def _raise(error: OSError) -> None:
    raise error


def _of_link(link: Path) -> str:
    target = link.readlink()
    if not link.exists():
        return f"{link} is a link to {target}, which does not exist: mend or remove it"
    return (
        f"{link} is a link to a folder, and DVC notices no changes behind it: give the catalog's `path` as {target}, or"
        " link the files one by one"
    )


def _absent(root: Path) -> str:
    text = f"{root} does not exist: put the files there, or correct `path` in the catalog"
    parts = Path.cwd().parts
    if any(parts[i : i + len(EXPERIMENTS)] == EXPERIMENTS for i in range(len(parts))):
        text += (
            f"; this experiment runs in a folder of its own, which has no files that git ignores: add `--copy-paths"
            f" {root}` to `dvc exp run`, or `dvc add {root}` once and commit {root}.dvc"
        )
    elif Path(f"{root}.dvc").is_file():
        text += f"; `dvc pull {root}` fetches what {root}.dvc stands for"
    return text


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file, from `.retune/hashes.json` where nothing says that it changed.

    Size and time of the content alone do not: unpacking and copying may keep both (`unzip`, `rsync -a`, `cp -p`).
    """
    file = Path(path)
    stat = file.stat()
    key, seal = os.path.abspath(file), [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]
    memory = _memory()
    if memory.get(key, [])[:-1] == seal:
        return str(memory[key][-1])
    digest = sha256(file)
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS:
        _remember(memory | {key: [*seal, digest]})
    return digest


def forget(path: str | Path) -> None:
    """Let the next `hash_file` read this file anew."""
    memory = _memory()
    if memory.pop(os.path.abspath(path), None):
        _remember(memory)


def _remember(memory: dict[str, list[int | str]]) -> None:
    with contextlib.suppress(PermissionError):  # who may only look reads the file again the next time
        MEMORY.parent.mkdir(parents=True, exist_ok=True)
        part = MEMORY.with_name(f"{MEMORY.name}.{os.getpid()}")
        part.write_text(json.dumps(memory, indent=0))
        part.replace(MEMORY)


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
