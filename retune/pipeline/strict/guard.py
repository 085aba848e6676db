"""What a stage's Python code may do: the rules, an audit hook for files, a finder for the project's modules.

The hook sees what Python opens, lists, makes, removes and renames; what libraries in other languages do is Landlock's
to see (retune.pipeline.strict.landlock). Each refusal is one sentence that says what to declare.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from retune.errors import RetuneError
from retune.pipeline.strict import landlock
from retune.pipeline.strict.declared import Declared
from retune.pipeline.strict.places import Places

PACKAGES = ("retune", "stages")

CHANGED = {
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "shutil.rmtree": ((0, None),),
}
"""Audit event -> the arguments that are paths of what changes, each with the open folder that it may be relative to."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Undeclared(RetuneError, PermissionError):
    """A stage used what it does not declare; for a library that asks for a file of its own, a file it may not have."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass
class Guard:
    """The rules of one stage instance. `files`: file of the project's code -> module, for what its fingerprint counts.

    `parts`: output -> the folder beside it that takes it while it is unfinished. `modules` are those of `files`.
    `variables` are the names that it may read of the environment. `refused` are the sentences said so far.
    """

    declared: Declared
    project: Path
    code: Path
    files: dict[str, str]
    places: Places
    parts: dict[Path, Path]
    variables: frozenset[str]
    refused: list[str] = field(default_factory=list)
    active: bool = True

    def __post_init__(self) -> None:
        self.modules = frozenset(self.files.values())
        self.outputs = {str(self.project / output) for output in self.parts}

    def allows(self, path: str, right: int) -> bool:
        """Whether a place gives a right, to the path as it is written or with its links followed."""
        return bool(self.places.at(path) & right or self.places.at(os.path.realpath(path)) & right)

    def read(self, path: str) -> str | None:
        """Why a file may not be read; None where it may."""
        if self.allows(path, landlock.READ_FILE):
            return None
        name, said = self.declared.name, self.shown(path)
        if self.own(path):
            return f"`{said}` is an output of {name}, which reads what it writes inside of `with run.output(...)` only"
        relative = _below(path, str(self.code))
        if relative and relative.partition("/")[0] in PACKAGES:
            return (
                f"`{said}` belongs to a module that the fingerprint of {name} does not count: put the file beside a "
                f"module that it imports, under that module's name ({relative.rpartition('/')[0]}/MODULE.*)"
            )
        if _below(path, str(self.project)):
            return f"`{said}` is not declared for {name}: add it to `deps` of `{self.declared.stage}` in dvc.yaml"
        return (
            f"`{said}` lies outside of the project, where no change of it makes {name} stale: bring it in by an entry "
            f"of kind `path` in a catalog, or add it to `deps` of `{self.declared.stage}` in dvc.yaml"
        )

    def write(self, path: str, *, whole: bool = False) -> str | None:
        """Why a path may not be written, or as a `whole` not be made, removed or renamed; None where it may."""
        if self.allows(path, landlock.WRITE_FILE):
            return None
        name, said = self.declared.name, self.shown(path)
        own = self.own(path)
        if whole and (own or any(output.startswith(path + os.sep) for output in self.outputs)):
            return None
        if own:
            return f"`{said}` is an output of {name}: write it through `run.output`, which gives it its name when whole"
        return (
            f"`{said}` is written, and is no output of {name}: write through `run.output`, and add it to `outs` of "
            f"`{self.declared.stage}` in dvc.yaml"
        )

    def own(self, path: str) -> bool:
        """Whether a path is an output of the instance, or below one."""
        return any(path == output or path.startswith(output + os.sep) for output in self.outputs)

    def lists(self, path: str) -> str | None:
        """Why the names in a folder may not be read; None where they may."""
        top = (_below(path, str(self.code)) or "").partition("/")[0]
        if path in (str(self.project), str(self.code)) or top in PACKAGES or self.allows(path, landlock.READ_DIR):
            return None
        if self.write(path, whole=True) is None:
            return None
        return self.read(path)

    def module(self, name: str) -> str | None:
        """Why a module may not be imported; None where it may."""
        if name.partition(".")[0] not in PACKAGES or name in self.modules:
            return None
        return (
            f"`{name}` is imported, and the fingerprint of {self.declared.name} does not count it: import it by a "
            "statement in a module that it counts, or name it in `roots` of retune/pipeline/fingerprint.py; after an "
            "edit of the code run `dvc repro resolve` first"
        )

    def variable(self, name: str, module: str) -> str | None:
        """Why a variable of the environment may not be read by a module; None where it may."""
        if name in self.variables:
            return None
        return (
            f"`{module}` reads the environment variable {name}, on which {self.declared.name} does not depend: make it "
            "a key of params.yaml, or name it in NAMES of retune/pipeline/strict/variables.py with the reason why "
            "it changes no result"
        )

    def refuse(self, said: str | None, path: str = "") -> None:
        """Raise `Undeclared` with the sentence, if there is one; what the project's files are about is kept."""
        if said is None or not self.active:
            return
        if not path or _below(path, str(self.project)):
            self.refused.append(said)
        raise Undeclared(said)

    def shown(self, path: str) -> str:
        """A path as a user knows it."""
        return _below(path, str(self.project)) or path


def _below(path: str, folder: str) -> str | None:
    """The path relative to the folder; None where it lies elsewhere."""
    return path[len(folder) + 1 :] if path.startswith(folder + os.sep) else None


def watch(guard: Guard) -> None:
    """Put the hook and the finder into place, for good; `guard.active` ends their work."""
    watchers: dict[str, Callable[[Guard, tuple[Any, ...]], None]] = {
        "open": _opened,
        "os.listdir": _listed,
        "os.scandir": _listed,
        "os.mkdir": _made,
        **{event: _changer(arguments) for event, arguments in CHANGED.items()},
    }

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in watchers and guard.active:
            watchers[event](guard, arguments)

    sys.addaudithook(hook)
    sys.meta_path.insert(0, _Finder(guard))


def _opened(guard: Guard, arguments: tuple[Any, ...]) -> None:
    path, mode, flags = arguments
    full = _full(path)
    if full is None or (mode is None and not os.path.isabs(path) and _walks()):
        return
    if flags & WRITING:
        guard.refuse(guard.write(full), full)
    elif (said := guard.read(full)) and os.path.lexists(full) and not os.path.isdir(full):
        guard.refuse(said, full)


def _walks() -> bool:
    """Whether the call is the standard library's own, which opens names relative to an open folder on its way."""
    return sys._getframe(3).f_globals.get("__name__") in ("shutil", "os")


def _listed(guard: Guard, arguments: tuple[Any, ...]) -> None:
    if full := _full("." if arguments[0] is None else arguments[0]):
        guard.refuse(guard.lists(full), full)


def _made(guard: Guard, arguments: tuple[Any, ...]) -> None:
    full = _full(arguments[0])
    if full and arguments[2] < 0 and not os.path.isdir(full):
        guard.refuse(guard.write(full, whole=True), full)


def _changer(places: Sequence[tuple[int, int | None]]) -> Callable[[Guard, tuple[Any, ...]], None]:
    def changed(guard: Guard, arguments: tuple[Any, ...]) -> None:
        for place, folder in places:
            if folder is not None and arguments[folder] >= 0:
                continue  # by the standard library's walk, whose start was seen
            if (full := _full(arguments[place])) and os.path.lexists(full):
                guard.refuse(guard.write(full, whole=True), full)

    return changed


def _full(path: Any) -> str | None:
    """A path as it is written, absolute; None for an open file's number."""
    if isinstance(path, int) or path is None:
        return None
    return os.path.abspath(os.fsdecode(path))


class _Finder(MetaPathFinder):
    """Finds nothing; refuses modules of the project that the fingerprint does not count."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        self.guard.refuse(self.guard.module(fullname))
