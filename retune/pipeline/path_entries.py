"""Catalog entries of kind `path`: the hashes of their files, and which lie where DVC sees no changes."""

from __future__ import annotations

from typing import Any

from retune.errors import RetuneError
from retune.pipeline.declarations import Project
from retune.pipeline.schema.catalog import Checkpoint, Source
from retune.sources import allowed_files
from retune.sources import path as path_source


def hashes(declared: Project, catalog: str, name: str, entry: Source | Checkpoint) -> dict[str, str]:
    """Path -> SHA-256 of the files of a `path` entry, so that a change on disk rebuilds what reads it."""
    if not entry.path:
        return {}
    try:
        found = path_source.hashes(entry.path, _named(entry), declared.folder)
        if isinstance(entry, Checkpoint):
            allowed_files.refuse_adapter(found)
        return found
    except RetuneError as error:
        declared.documents[catalog].problem((name, "path"), str(error))
        return {}


def outside(declared: Project) -> dict[str, Any]:
    """Name -> path and patterns of each `path` entry in use whose changes DVC does not see, as the catalog has them."""
    used: dict[str, Source | Checkpoint] = {}
    used |= {f"data-{name}": declared.sources[name] for name in {task.source for task in declared.tasks.values()}}
    used |= {f"models-{name}": declared.checkpoints[name] for name in {*declared.bases.values()}}
    return {
        name: {"path": entry.path, "patterns": _named(entry)}
        for name, entry in sorted(used.items())
        if entry.kind == "path" and entry.path and path_source.is_outside(entry.path, declared.folder)
    }


def _named(entry: Source | Checkpoint) -> list[str] | None:
    """The names and patterns of the files that the tables of a source read; None: all files of a checkpoint."""
    if isinstance(entry, Checkpoint):
        return None
    tables = [*entry.tables, *(entry.unlabelled or [])]
    joins = [table.join if isinstance(table.join, list) else [table.join] for table in tables if table.join]
    named = [table.file for table in tables] + [join.file for joined in joins for join in joined]
    return [*named, entry.corrections] if entry.corrections else named
