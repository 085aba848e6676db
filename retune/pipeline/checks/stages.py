"""What in dvc.yaml costs more than it seems: outputs that nobody reads, expensive stages that DVC does not remember."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from retune.params import RESOLVED
from retune.pipeline import fingerprint
from retune.pipeline.declarations import mapping
from retune.pipeline.yaml_file import read

PIPELINE = "dvc.yaml"
EXPRESSION = re.compile(r"\$\{[^}]*\}")
COMPUTING = {"torch", "transformers"}
"""Packages that load a model: what imports one is expensive."""

WRITTEN = ("outs", "metrics", "plots")


def warnings(folder: Path, resolved: dict[str, Any]) -> list[str]:
    """What deserves a look in the project's dvc.yaml; each line says what to do."""
    if not (folder / PIPELINE).is_file():
        return []
    document = read(folder, PIPELINE)
    found = list(document.problems)
    declared = {name: mapping(stage) for name, stage in mapping(mapping(document.data).get("stages")).items()}
    stages = {name: mapping(stage.get("do", stage)) for name, stage in declared.items()}
    used = [RESOLVED.as_posix()]  # by every stage that runs: what it depends on there is in a file of its own
    used += [_pattern(path) for path in mapping(document.data).get("vars") or [] if isinstance(path, str)]
    used += [path for stage in stages.values() for path in _read(stage)]
    code = fingerprint.Code(folder)
    for name, stage in stages.items():
        place = document.place(("stages", name))
        if "." in name:
            found.append(
                f"{place}: the name {name} has a dot, at which DVC divides keys: take letters, digits, _ and -"
            )
        outputs = [_pattern(path) for path, _ in _entries(stage, "outs")]
        unread = [path for path in outputs if not any(_meet(path, other) for other in used)]
        if len(unread) < len(outputs):  # of a stage whose outputs nobody reads, they are the result
            found += [
                f"{place}: no stage reads {path}, an output of {name}: name it in the `deps` of the one that does, or "
                "leave it out"
                for path in unread
            ]
        loose = [path for kind in WRITTEN for path, options in _entries(stage, kind) if options.get("cache") is False]
        if loose and _is_expensive(code, name, resolved):
            found.append(
                f"{place}: {name} is expensive, and its output {loose[0]} has `cache: false`: DVC then remembers no "
                "run of it and repeats one that it has seen; take `cache: false` out"
            )
    return found


def _entries(stage: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and options of each entry of a list: `- path`, or `- path: {cache: false}`."""
    for one in stage.get(kind) or []:
        yield from ((path, mapping(options)) for path, options in (one if isinstance(one, dict) else {one: {}}).items())


def _read(stage: dict[str, Any]) -> Iterator[str]:
    yield from (_pattern(path) for path in stage.get("deps") or [])
    yield from (_pattern(path) for one in stage.get("params") or [] if isinstance(one, dict) for path in one)


def _pattern(path: Any) -> str:
    return EXPRESSION.sub("*", str(path))


def _meet(one: str, other: str) -> bool:
    """Whether two paths may be the same, or one a folder above the other."""
    parts = zip(Path(one).parts, Path(other).parts, strict=False)
    return all(fnmatchcase(a, b) or fnmatchcase(b, a) for a, b in parts)


def _is_expensive(code: fingerprint.Code, stage: str, resolved: dict[str, Any]) -> bool:
    if stage in fingerprint.FETCHING:
        return True
    entries = resolved.get(fingerprint.STAGES.get(stage, ""), {}).values()
    roots = {root for entry in entries for root in fingerprint.roots(stage, entry)} or {f"stages.{stage}"}
    modules = code.closure(sorted(root for root in roots if root in code.files))
    return any(code.module(module).packages & COMPUTING for module in modules)
