"""Strict stages: what a stage does not declare it can't use, so no result depends on what no fingerprint holds.

Refused, by one sentence that says what to declare: a file that the stage's entry of dvc.yaml does not name, a module
that its fingerprint does not count, a key of params-resolved.json that it does not depend on, a variable of the
environment, a path written that is no output. Python meets an audit hook (`guard`), code of other languages the kernel
(`landlock`), where it is Linux. Nothing here can change a result (retune.pipeline.fingerprint.UNCOUNTED).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retune import params
from retune.params import Params
from retune.pipeline import fingerprint
from retune.pipeline.strict import closure, declared, landlock, native, parameters, places, variables
from retune.pipeline.strict import guard as guards
from retune.pipeline.strict.guard import Guard, Undeclared

COMPILERS = ("watch", "resolve")
"""Stages that read what a user has just written, wherever that lies, and say by hashes what the others read."""

log = logging.getLogger("retune")


@dataclass(frozen=True)
class Held:
    """What a stage has where it is held: the parameters that it may see, and where its outputs are written."""

    guard: Guard | None = None

    def params(self, resolved: Params) -> Params:
        """The part of the resolved file that the stage may see."""
        return parameters.part(resolved, self.guard.declared, self.guard.refuse) if self.guard else resolved

    @contextlib.contextmanager
    def part(self, target: Path) -> Iterator[Path]:
        """Where an output is written until it is whole: `.NAME.part/NAME` beside it. It is for the caller to remove.

        Raises `Undeclared` for what is no output of the stage.
        """
        for output, folder in self.guard.parts.items() if self.guard else ():
            if target.is_relative_to(output):
                yield folder / target.name
                return
        if self.guard and (said := self.guard.write(os.path.abspath(target))):
            raise Undeclared(said)
        folder = target.with_name(f".{target.name}.part")
        with _folders([folder]):
            yield folder / target.name


@contextlib.contextmanager
def held(stage: str, instance: str) -> Iterator[Held]:
    """Hold this process to what dvc.yaml declares for a stage instance while the block runs, if it declares anything.

    What the kernel refuses stays refused after the block, so this is for a process that runs one stage. Raises
    `Undeclared`.
    """
    guard = _guard(stage, instance) if stage not in COMPILERS and declared.PIPELINE.is_file() else None
    if guard is None:
        yield Held()
        return
    with _folders(guard.parts.values()):
        try:
            _begin(guard)
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


def _guard(stage: str, instance: str) -> Guard | None:
    """The rules of an instance; None, with a line in the log, where it is not to be held."""
    resolved = params.load()
    entry = declared.load(stage, instance, resolved)
    if entry is None:
        log.warning("not strict: %s has no stage `%s`", declared.PIPELINE, stage)
        return None
    if not resolved.get("strict", True):
        log.warning(
            "not strict (`strict: false` in params.yaml): what %s uses undeclared makes nothing stale", entry.name
        )
        return None
    project, code = Path.cwd(), Path(__file__).parents[3]
    files = closure.load(code, stage, instance, resolved)
    section: dict[str, Any] = resolved.get(fingerprint.STAGES.get(stage, ""), {}).get(instance, {})
    source = section.get("source", section) if stage in places.FETCHING else {}
    allowed = places.of(entry, project, code, files, source)
    parts = {output: output.with_name(f".{output.name}.part") for output in entry.outputs}
    for folder in parts.values():
        allowed.allow(project / folder, landlock.ALL)
    names = variables.NAMES.keys() | places.variables(source)
    return Guard(entry, project, code, files, allowed, parts, frozenset(names))


def _begin(guard: Guard) -> None:
    """Put every guard that there is into place, and say which."""
    for name in list(sys.modules):
        guard.refuse(guard.module(name))
    by = "an audit hook"
    if version := landlock.version():
        if landlock.running():
            log.warning(
                "warning: polars reads beside strictness in %s: it computes while a module is imported, so its threads "
                "are older than the kernel's rules; move that into a function", guard.declared.name,
            )  # fmt: skip
        try:
            landlock.restrict(_rules(guard))
            by = f"Landlock (version {version}) and an audit hook"
        except landlock.Unavailable as error:
            log.info("Landlock is not at work: %s", error)
    guards.watch(guard)
    variables.watch(guard)
    log.info("strict: %s: %s", guard.declared.name, by)


def _rules(guard: Guard) -> dict[Path, int]:
    """For the kernel: the places, names of the project's files, and of unfinished outputs the way to their names."""
    rules = {Path(path): rights for path, rights in guard.places.rights.items()}
    names = [guard.project, *(guard.code / package for package in guards.PACKAGES)]
    for folder, rights in [
        *((folder, landlock.LIST) for folder in names),
        *(((guard.project / output).parent, landlock.REPLACE) for output in guard.parts),
    ]:
        rules[folder] = rules.get(folder, 0) | rights
    return rules
