"""Where a stage may read and write: what dvc.yaml declares for it, and what every program needs.

A place is an absolute path, as it is written and with its links followed; what lies below goes with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import site
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retune import run_record
from retune.params import RESOLVED, STATE, project_state
from retune.pipeline import earlier
from retune.pipeline.fingerprint import FETCHING
from retune.pipeline.strict import landlock
from retune.pipeline.strict.declared import PIPELINE, Declared

SYSTEM = ("/bin", "/sbin", "/usr", "/etc", "/opt", "/run", "/var", "/nix", "/snap", "/lib", "/lib32", "/lib64", "/sys")
DEVICES = ("/proc", "/dev", "/var/tmp")
"""Where any process may write: GPUs, shared memory, what the kernel keeps of the process."""

COMPILED = (".nv", ".triton", ".cache/torch", ".cache/torch_extensions", ".cache/nvidia", ".cache/fontconfig")
"""Below the home folder: kernels that drivers and compilers have built, the index of fonts."""

COMPILED_AT = ("CUDA_CACHE_PATH", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
"""Variables that put such folders elsewhere."""

KEPT = ("closures", "runs", "rejects", "cache", "logs", "locks")
"""What every stage may use of .retune, beside its own scratch folder."""


LOCK = Path("dvc.lock")
"""The stage `warm` alone reads it, and its model's folder: it keeps what is the output of a stage behind it."""


@dataclass
class Places:
    """What is allowed at a path and below it, in bits of `landlock`. `holes` stay shut where a place is above them.

    `temporary` is a folder for temporary files that is this process's own, where there is one.
    """

    holes: tuple[Path, ...]
    rights: dict[str, int] = field(default_factory=dict)
    temporary: str = ""
    _known: dict[str, int] = field(default_factory=dict)

    def allow(self, path: Path, rights: int) -> None:
        """Add a place; around the holes below it, if there are any."""
        for one in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
            for place in _around(Path(one), self.holes):
                self.rights[str(place)] = self.rights.get(str(place), 0) | rights

    def at(self, path: str) -> int:
        """What is allowed at an absolute path."""
        return self.rights.get(path, 0) | self._below(os.path.dirname(path))

    def _below(self, folder: str) -> int:
        """What is allowed in a folder, remembered: a stage opens thousands of files in few folders."""
        if (found := self._known.get(folder)) is None:
            above = os.path.dirname(folder)
            found = self._known[folder] = self.rights.get(folder, 0) | (self._below(above) if above != folder else 0)
        return found


def _around(folder: Path, holes: tuple[Path, ...]) -> Iterator[Path]:
    """The folder, or where a hole lies below it, what else is in it now."""
    if not any(hole != folder and hole.is_relative_to(folder) for hole in holes):
        yield folder
        return
    try:
        inside = list(folder.iterdir())
    except OSError:
        return
    for one in inside:
        if one not in holes:
            yield from _around(one, holes)


def of(declared: Declared, project: Path, code: Path, files: Iterable[str], entry: dict[str, Any]) -> Places:
    """The places of one instance but for its outputs.

    `files` of the folder `code` are those that its fingerprint counts; `entry` is its section of the resolved file.
    """
    home = Path(os.path.expanduser("~"))
    places = Places(tuple(dict.fromkeys(one for one in (project, code, home) if one != Path("/"))))
    for name in SYSTEM:
        places.allow(Path(name), landlock.READ)
    if any(hole.is_relative_to(tempfile.gettempdir()) for hole in places.holes):
        own = _own(Path(tempfile.gettempdir()) / f"retune-{os.getuid()}")
        places.allow(own, landlock.ALL)  # so the folder below it can be removed when the stage ends
        places.temporary = tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(dir=own)
    for name in (*DEVICES, tempfile.gettempdir()):
        places.allow(Path(name), landlock.ALL)
    for folder in _compiled(home):
        places.allow(folder, landlock.ALL)
    for path in map(Path, (sys.prefix, sys.base_prefix, *site.getsitepackages(), *sys.path)):
        if path.absolute() not in places.holes and path.exists():
            places.allow(path, landlock.READ)
    for folder in {(code / name).parent for name in files}:
        places.allow(folder / "__pycache__", landlock.ALL)
    for name in files:
        places.allow(code / name, landlock.READ)
    last = [Path("models") / declared.instance, LOCK] if declared.stage == "warm" else []
    for path in (PIPELINE, RESOLVED, *declared.reads, *last):
        for one in (project / path, *_linked(project / path)):
            places.allow(one, landlock.READ)
    state = [project / STATE / name for name in (*KEPT, f"scratch/{declared.stage}")]
    if declared.stage in earlier.KEPT:
        state.append(project / earlier.FOLDER / declared.stage)
    if declared.stage in FETCHING:  # from the machine's downloads, or the files of a `path` entry, by their hashes
        state = [project / STATE, _downloads()]
        for one, rights in _source(entry, project):
            places.allow(one, rights)
    around = project_state(project)  # of an experiment in a folder of its own: where its unfinished work is kept
    for folder in (*state, run_record.folder(project), around / "scratch" / declared.stage, around / "locks"):
        folder.mkdir(parents=True, exist_ok=True)
        places.allow(folder, landlock.ALL)
    return places


def _own(folder: Path) -> Path:
    """The folder, made if need be; another one where it is there and somebody else may write in it."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    state = folder.lstat()
    if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="retune-"))


def _compiled(home: Path) -> list[Path]:
    """The folders of `COMPILED` that are there; with a GPU also those that it will ask for."""
    if any(os.path.exists(device) for device in ("/dev/nvidiactl", "/dev/kfd")):
        with contextlib.suppress(OSError):
            for name in COMPILED[:2]:
                (home / name).mkdir(parents=True, exist_ok=True)
    said = [os.environ[name] for name in COMPILED_AT if os.environ.get(name)]
    return [folder for folder in (*(home / name for name in COMPILED), *map(Path, said)) if folder.is_dir()]


def _downloads() -> Path:
    from retune.sources import cache

    return cache.folder()


def _source(entry: dict[str, Any], project: Path) -> Iterator[tuple[Path, int]]:
    """The files of a `path` entry whose hashes are in the resolved file, and the names of those beside them."""
    from retune.sources import path

    if entry.get("kind") == "path":
        root = project / path.expand(entry["path"])
        yield root, landlock.READ if root.is_file() else landlock.LIST
        for name in entry.get("hashes") or entry.get("files") or ():
            yield root / name, landlock.READ


def _linked(path: Path) -> Iterator[Path]:
    """What the links below a folder lead to: DVC's cache may be linked into the workspace file by file."""
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            if os.path.islink(one := os.path.join(folder, name)):
                yield Path(os.path.realpath(one))


def variables(entry: dict[str, Any]) -> set[str]:
    """The variables in the path of a `path` entry: the hashes of the files that they lead to are in the fingerprint."""
    return {
        name for match in re.findall(r"\$(?:\{(\w+)\}|(\w+))", str(entry.get("path", ""))) for name in match if name
    }
