"""A copy of a project in which stages can run again: its files and their inputs, without the outputs to be made."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from retune.errors import RetuneError
from retune.params import STATE
from retune.pipeline.instances import overlap
from retune.verify import lock
from retune.verify.lock import Built

FOLDER = STATE / "verify"
KEPT = "kept-"
"""How the name of a copy begins that stays until a user removes it."""
LEFT_OUT = {".git", ".dvc", ".retune", ".venv", "__pycache__"}


@contextlib.contextmanager
def scratch(folder: Path, keep: bool) -> Iterator[Path]:
    """An empty folder inside the project's own state, gone in the end unless to `keep`; so are those of killed runs."""
    top = (folder / FOLDER).absolute()
    top.mkdir(parents=True, exist_ok=True)
    for old in top.iterdir():
        if not old.name.startswith(KEPT) and (held := _hold(old)):
            shutil.rmtree(old, ignore_errors=True)
            held.close()
    made = Path(tempfile.mkdtemp(prefix=KEPT if keep else "", dir=top))
    held = _hold(made)
    try:
        yield made
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)
        if held:
            held.close()


def _hold(folder: Path) -> Held | None:
    """The lock of a copy, which ends with its process; None where another one has it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return Held(handle)


class Held:
    """An open folder with a lock on it."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def close(self) -> None:
        """Give the lock back."""
        os.close(self.handle)


def fill(project: Path, into: Path, stages: Sequence[Built]) -> None:
    """Copy the project's own files, and link the inputs that the stages don't make themselves.

    An input comes from the workspace, or from DVC's cache where it is not checked out. Raises `RetuneError` where it is
    in neither.
    """
    made = [out for one in stages for out in one.outs]
    for name in _own_files(project):
        if not any(name == out or name.startswith(f"{out}/") for out in made):
            _place(project / name, into / name, link=False)
    for name in dict.fromkeys(name for one in stages for name in one.params):
        if (project / name).is_file():
            _place(project / name, into / name, link=False)
    cached: Path | None = None
    for path in dict.fromkeys(path for one in stages for path in one.deps):
        if any(path == out or path.startswith(f"{out}/") for out in made) or (into / path).is_file():
            continue
        if not (project / path).exists():
            cached = cached or lock.cache(project)
            outs = {out: md5 for one in lock.read(project) for out, md5 in one.outs.items() if out not in made}
            if not _from_cache(cached, outs, path, into) and not any(overlap(path, out) for out in made):
                raise RetuneError(f"{path} is neither here nor in DVC's cache: `dvc pull`, or `dvc repro`")
            continue
        for file in _files(project / path):
            name = file.relative_to(project).as_posix()
            if not any(name == out or name.startswith(f"{out}/") for out in made):
                _place(file, into / name, link=True)


def clone(made: Path, into: Path) -> None:
    """Make another copy beside, of links to the files of `made` without its state; it is there whole or not at all."""
    part = into.with_name(f"{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for top, folders, names in os.walk(made):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        here = part / Path(top).relative_to(made)
        here.mkdir(parents=True)
        for name in names:
            _place(Path(top) / name, here / name, link=True)
    part.rename(into)


def replace(file: Path, target: Path) -> None:
    """Put a file in the place of another one of a copy, as a link; what the other one is a link to stays as it is."""
    target.unlink(missing_ok=True)
    _place(file, target, link=True)


def _own_files(project: Path) -> list[str]:
    """What git keeps or would keep; without git, everything but DVC's folders, ours, and a virtual environment."""
    done = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=project, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return sorted({name for name in done.stdout.split("\0") if name and (project / name).is_file()})
    found = []
    for top, folders, names in os.walk(project):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        found += [(Path(top) / name).relative_to(project).as_posix() for name in names]
    return found


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _place(file: Path, target: Path, *, link: bool) -> None:
    """A file under another name: the same one where that can be, or else a copy."""
    if target.exists():  # it may be the same file: nothing is written through a link
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        with contextlib.suppress(OSError):
            os.link(os.path.realpath(file), target)
            return
    shutil.copy2(file, target)


def _from_cache(cache: Path, outs: Mapping[str, str], path: str, into: Path) -> bool:
    """Put an input together that was not checked out: an output (path -> hash), a part of one, or a folder of several.

    False where an object is not in the cache, or none belongs to it.
    """
    wanted: dict[str, str] = {}
    objects = cache / "files/md5"
    try:
        for out, md5 in outs.items():
            if not overlap(path, out):
                continue
            files = {out: md5}
            if md5.endswith(".dir"):
                listed = json.loads((objects / md5[:2] / md5[2:]).read_text(encoding="utf-8"))
                files = {f"{out}/{one['relpath']}": one["md5"] for one in listed}
            wanted |= {name: file for name, file in files.items() if name == path or name.startswith(f"{path}/")}
        for name, md5 in wanted.items():
            _place((objects / md5[:2] / md5[2:]).resolve(strict=True), into / name, link=True)
    except OSError:
        return False
    return bool(wanted)
