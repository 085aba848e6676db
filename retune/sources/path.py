"""Files that are already on this machine: listed, hashed (with a memory of past hashes), linked into the project.

A source or checkpoint of kind `path` lies below `data/external`: DVC watches this folder for `resolve`, and nothing
outside of it. `resolve` calls `list_files` and `hash_file` on every run, so this module imports the standard library
only.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from retune.errors import RetuneError
from retune.params import STATE
from retune.run_record import TEMPORARY

WATCHED = Path("data/external")
"""The folder of `path` entries, relative to the project: a dependency of `resolve` in dvc.yaml."""

MEMORY = STATE / "hashes.json"
"""Path -> what `os.stat` says of the file, and its SHA-256, so an unchanged data set is not read again."""

SETTLED_NS = 2_000_000_000
"""A file that changed less than this long ago may change again within the tick of its clock: not remembered."""


def watched(path: str) -> Path:
    """The path of a catalog's entry, if changes there are noticed; raises `RetuneError` for any other."""
    relative = Path(os.path.normpath(path))
    if relative.is_absolute() or not relative.is_relative_to(WATCHED) or relative == WATCHED:
        name = relative.name if relative.name.isidentifier() else "NAME"
        raise RetuneError(
            f"`{path}` is not below {WATCHED}, the folder whose changes the build notices: copy the files to"
            f" {WATCHED}/{name}, or link them there by `retune link FOLDER {name}`, and write `path: {WATCHED}/{name}`"
        )
    return relative


def list_files(path: str | Path, patterns: Iterable[str] | None = None) -> dict[str, Path]:
    """Map relative name -> file, sorted, for one file or for a folder: those that `patterns` (names, globs) name.

    Hidden files and Office's lock files (`~$data.xlsx`) are left out. Raises `RetuneError` where there is nothing,
    where nothing fits a pattern, for a link to nowhere, and for a link to a folder, behind which DVC notices no change.
    """
    root = Path(path)
    for part in (root, *root.parents):
        if part.is_symlink() and (part.is_dir() or not part.exists()) and part.is_relative_to(_data(root)):
            raise RetuneError(_of_link(part))
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
    """Relative name -> file below a folder, links to nowhere among them; raises `RetuneError` for a linked folder."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if (Path(folder) / name).is_symlink():
                raise RetuneError(_of_link(Path(folder) / name))
        for name in names:
            file = Path(folder) / name
            if not name.startswith((".", "~$")) and (file.is_file() or not file.exists()):
                found[file.relative_to(root).as_posix()] = file
    return dict(sorted(found.items()))


def _data(root: Path) -> Path:
    """The project's folder of external data above `root`; `root` itself where it lies elsewhere."""
    return next((part for part in (root, *root.parents) if part.parts[-2:] == WATCHED.parts), root)


def _of_link(link: Path) -> str:
    target = link.readlink()
    if not link.exists():
        return f"{link} is a link to {target}, which does not exist: mend or remove it"
    return (
        f"{link} is a link to a folder, and DVC notices no changes behind it: remove it, and link the files one by one"
        f" with `retune link {target} {link.name}`"
    )


def _absent(root: Path) -> str:
    text = f"{root} does not exist: put the files there, or correct `path` in the catalog"
    parts = Path.cwd().parts
    if any(parts[i : i + len(TEMPORARY)] == TEMPORARY for i in range(len(parts))):
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


def link(source: Path, name: str) -> tuple[int, int]:
    """Link each file of `source` (a folder, or one file) below `data/external/NAME`; how many are new, how many gone.

    Run again, it adds what the folder has got and removes links to what it has lost. Raises `RetuneError` where there
    is nothing to link, and where a file that is no link stands in the way.
    """
    target = WATCHED / name
    if not source.exists():
        raise RetuneError(f"{source} does not exist: name a file, or a folder with files")
    if not target.is_relative_to(WATCHED) or target == WATCHED or ".." in target.parts or target.is_symlink():
        raise RetuneError(f"{target} can't be a folder for links: take a plain name, such as `afqmc`")
    real = source.resolve()
    files = list_files(real)
    added = gone = 0
    for old in [file for file in target.rglob("*") if file.is_symlink() and not file.exists()]:
        old.unlink()
        gone += 1
    for relative, file in files.items():
        place = target / relative
        if place.is_symlink() and place.readlink() == file:
            continue
        if place.exists() or place.is_symlink():
            raise RetuneError(f"{place} is in the way of a link to {file}: remove it, or take another name")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file)
        added += 1
    return added, gone
