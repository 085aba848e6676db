"""What a running stage has: its arguments, its parameters, a scratch folder, atomic outputs.

A stage is a function `(run: Stage, NAME: str) -> None` under `@stage`; calling it without arguments runs it from the
command line. It sees the resolved parameters through `run`, and writes through `run.output` only.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import logging
import random
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from retune import params
from retune.errors import RetuneError
from retune.params import Params
from retune.pipeline import disk_error, runtime, scratch, strict


class Stage:
    """What a running stage may ask for."""

    def __init__(self, name: str, instance: str) -> None:
        self.name, self.instance = name, instance
        self.log = logging.getLogger("retune")
        self.held = strict.Held()
        self._scratch: list[tuple[Path, IO[bytes], bool]] = []

    @functools.cached_property
    def params(self) -> Params:
        """The resolved file; where the stage is held, the part of it that the stage depends on."""
        return self.held.params(params.load())

    @property
    def seed(self) -> int:
        """The seed of `params.yaml`."""
        return int(self.params.seed)

    def task(self, name: str) -> Params:
        """The resolved section of a task; raises `RetuneError` for an unknown name."""
        return self._section("tasks", name)

    def model(self, name: str) -> Params:
        """The resolved section of a model."""
        return self._section("models", name)

    def prediction(self, model: str) -> Params:
        """What the prediction of a model depends on beside its folder."""
        return self._section("predictions", model)

    def start(self, model: str) -> Params:
        """What the last version of a model must fit to be its start."""
        return self._section("starts", model)

    def base(self, role: str) -> Params:
        """The resolved catalog entry of a base."""
        return self._section("bases", role)

    def base_dir(self, role: str) -> Path:
        """The folder of a fetched base."""
        return Path("models/bases") / role

    def split_file(self, task: str, split: str) -> Path:
        """The rows of one split of a task."""
        return Path("data/splits") / task / f"{split}.parquet"

    def _section(self, kind: str, name: str) -> Params:
        known = self.params[kind]
        if name not in known:
            raise RetuneError(f"`{name}` is not among the {kind} of params.yaml: {', '.join(known)}")
        return known[name]

    @contextlib.contextmanager
    def output(self, target: str | Path) -> Iterator[Path]:
        """A temporary path beside `target` that replaces it when the block succeeds and vanishes when it fails.

        A target with a suffix is a file, any other a folder, which is created empty. Whoever wrote them, its files and
        folders have the modes of new ones: 0666 and 0777 less the umask.
        """
        target = Path(target)
        with self.held.part(target) as part:
            if not target.suffix:
                part.mkdir()
            try:
                yield part
            except BaseException:
                remove(part)
                raise
            open_up(part, stat.S_IMODE(part.parent.stat().st_mode))  # of a folder that was just made for `part`
            target.parent.mkdir(parents=True, exist_ok=True)
            remove(target)
            part.rename(target)

    def scratch(self, *inputs: Any, keep: bool = False) -> Path:
        """A folder for unfinished work that outlives a kill and is removed when the stage succeeds, unless to `keep`.

        Its name is a fingerprint of the stage's code and of `inputs` (specs, or paths whose bytes count), so a
        changed run never finds the remains of another, and any run of the same work finds them
        (retune.pipeline.scratch).
        """
        digest = hashlib.sha256(repr(self.params.code.get(self.name, {}).get(self.instance)).encode())
        for value in inputs:
            digest.update(content(value) if isinstance(value, Path) else repr(value).encode())
        folder, held = scratch.claim(self.name, self.instance, digest.hexdigest()[:16])
        self._scratch.append((folder, held, keep))
        return folder

    def finish(self) -> None:
        """Remove the scratch folders of a stage that succeeded."""
        for folder, held, keep in self._scratch:
            held.close() if keep else scratch.release(folder, held)


def content(path: Path) -> bytes:
    """SHA-256 over a file, or over the names and bytes of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.digest()


def open_up(path: Path, mode: int) -> None:
    """Give a folder and all in it, or a file, the modes of new ones, where a new folder has `mode`; links stay.

    Some writers (safetensors, temporary files) make files that their owner alone may read, in a folder for a team too.
    """
    for one in (path, *path.rglob("*")):
        if not one.is_symlink():
            one.chmod(mode if one.is_dir() else mode & 0o666)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def stage(function: Callable[..., None]) -> Callable[[], None]:
    """Make a function the stage of its name; the result takes its arguments from the command line."""
    name = function.__name__
    wanted = list(inspect.signature(function).parameters)[1:]

    @functools.wraps(function)
    def main() -> None:
        arguments = sys.argv[1:]
        usage = " ".join(["usage: python -m stages." + name, *(a.upper() for a in wanted)])
        if "-h" in arguments or "--help" in arguments:
            print(f"{inspect.getdoc(inspect.getmodule(function)) or name}\n\n{usage}")
            return
        if len(arguments) != len(wanted):
            sys.exit(usage)
        run = Stage(name, "-".join(arguments))
        try:
            with runtime.running(name, run.instance), contextlib.ExitStack() as held:
                if function.__module__ == "__main__":  # this process runs nothing else
                    run.held = held.enter_context(strict.held(name, run.instance))
                random.seed(run.seed if name not in ("watch", "resolve") else 0)
                function(run, *arguments)
                run.finish()
        except RetuneError as error:
            sys.exit(f"{name}: {error}" if not arguments else f"{name} {run.instance}: {error}")
        except KeyboardInterrupt:
            sys.exit(f"{name} {run.instance}: stopped; run `dvc repro` to go on")
        except Exception as error:
            if said := disk_error.sentence(error):
                sys.exit(f"{name} {run.instance}: {said}")
            raise

    return main
