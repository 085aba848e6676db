"""How a stage is held from its start on: its rules are gathered, then every guard that there is put into place."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from retune import params
from retune.pipeline import fingerprint
from retune.pipeline.strict import closure, declared, landlock, places, variables
from retune.pipeline.strict import guard as guards
from retune.pipeline.strict.guard import Guard

COMPILERS = ("watch", "resolve")
"""Stages that read what a user has just written, wherever that lies, and say by hashes what the others read."""

log = logging.getLogger("retune")


def guard(stage: str, instance: str) -> Guard | None:
    """The rules of an instance; None, with a line in the log for what should be, where it is not to be held."""
    if stage in COMPILERS or not declared.PIPELINE.is_file():
        return None
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
    source = section.get("source", section) if stage in fingerprint.FETCHING else {}
    allowed = places.of(entry, project, code, files, source)
    parts = {output: output.with_name(f".{output.name}.part") for output in entry.outputs}
    for folder in parts.values():
        allowed.allow(project / folder, landlock.ALL)
    names = variables.NAMES.keys() | places.variables(source)
    return Guard(entry, project, code, files, allowed, parts, frozenset(names))


def begin(guard: Guard) -> None:
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
