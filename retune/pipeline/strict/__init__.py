"""Strict stages: what a stage does not declare it can't use, so no result depends on what no fingerprint holds.

Refused, by one sentence that says what to declare: a file that the stage's entry of dvc.yaml does not name, a module
that its fingerprint does not count, a key of params-resolved.json that it does not depend on, a variable of the
environment, a path written that is no output. Python meets an audit hook (`guard`), code of other languages the kernel
(`landlock`), where it is Linux. Nothing here can change a result (retune.pipeline.uncounted). Modules
are loaded when a stage starts: who imports one, to test it, loads none of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retune.params import Params
    from retune.pipeline.strict.guard import Guard


@dataclass(frozen=True)
class Held:
    """What a stage has where it is held: the parameters that it may see, and where its outputs are written."""

    guard: Guard | None = None

    def params(self, resolved: Params) -> Params:
        """The part of the resolved file that the stage may see."""
        if self.guard is None:
            return resolved
        from retune.pipeline.strict import parameters

        return parameters.part(resolved, self.guard.declared, self.guard.refuse)

    @contextlib.contextmanager
    def part(self, target: Path) -> Iterator[Path]:
        """Where an output is written until it is whole: `.NAME.part/NAME` beside it. It is for the caller to remove.

        Raises `Undeclared` for what is no output of the stage.
        """
        for output, folder in self.guard.parts.items() if self.guard else ():
            if target.is_relative_to(output):
                yield folder / target.name
                return
        if self.guard:
            self.guard.refuse(self.guard.write(os.path.abspath(target)))
        folder = target.with_name(f".{target.name}.part")
        with _folders([folder]):
            yield folder / target.name


@contextlib.contextmanager
def held(stage: str, instance: str) -> Iterator[Held]:
    """Hold this process to what dvc.yaml declares for a stage instance while the block runs, if it declares anything.

    What the kernel refuses stays refused after the block, so this is for a process that runs one stage. Raises
    `Undeclared`.
    """
    from retune.pipeline.strict import native, start
    from retune.pipeline.strict.guard import Undeclared

    if (guard := start.guard(stage, instance)) is None:
        yield Held()
        return
    with _folders(guard.parts.values()):
        try:
            start.begin(guard)
            yield Held(guard)
            if guard.refused:  # and caught by someone who went on without
                raise Undeclared(guard.refused[0])
        except Exception as error:
            if isinstance(error, Undeclared) or (said := native.explain(guard, error)) is None:
                raise
            raise Undeclared(said) from error
        finally:
            guard.active = False
            if guard.places.temporary:
                shutil.rmtree(guard.places.temporary, ignore_errors=True)


@contextlib.contextmanager
def _folders(folders: Iterable[Path]) -> Iterator[None]:
    """New, empty folders, which are gone in the end; what a killed run left there goes before."""
    kept = list(folders)
    for folder in kept:
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.unlink(missing_ok=True)
        folder.mkdir(parents=True)
    try:
        yield
    finally:
        for folder in kept:
            shutil.rmtree(folder, ignore_errors=True)
