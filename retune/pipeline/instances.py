"""The stage instances of dvc.yaml: what each depends on and makes, without DVC, which takes a second to start."""

from __future__ import annotations

import graphlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retune.pipeline.yaml_file import LOADER


@dataclass(frozen=True)
class Instance:
    """One stage instance: paths relative to the project; `params` are keys of params-resolved.json, if any."""

    stage: str
    key: str
    cmd: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: tuple[str, ...]

    @property
    def address(self) -> str:
        """The name that DVC gives it."""
        return f"{self.stage}@{self.key}" if self.key else self.stage


def read(folder: Path, values: dict[str, Any]) -> list[Instance]:
    """All instances of the project's dvc.yaml, each behind those whose outputs it reads.

    `values`: the sections over which its stages go (tasks, models, bases, outside).
    """
    stages = yaml.load((folder / "dvc.yaml").read_text(encoding="utf-8"), LOADER)["stages"]
    found = []
    for name, entry in stages.items():
        if "foreach" not in entry:
            found.append(_instance(name, "", entry, {}))
            continue
        section = values[entry["foreach"].strip("${}")]
        found += [_instance(name, key, entry["do"], item) for key, item in section.items()]
    return _ordered(found) if any(one.stage == "teach" for one in found) else found


def _ordered(found: list[Instance]) -> list[Instance]:
    """Each behind those whose outputs it reads, else in the order of dvc.yaml, which no student's teacher keeps."""
    graph = {
        place: [
            before
            for before, other in enumerate(found)
            if before != place and any(overlap(dep, out) for dep in one.deps for out in other.outs)
        ]
        for place, one in enumerate(found)
    }
    return [found[place] for place in graphlib.TopologicalSorter(graph).static_order()]


def _instance(stage: str, key: str, entry: dict[str, Any], item: Any) -> Instance:
    def filled(text: str) -> str:
        named = item if isinstance(item, dict) else {}
        return re.sub(r"\$\{(key|item\.(\w+))\}", lambda match: str(named[match[2]]) if match[2] else key, text)

    outs = [path for kind in ("outs", "metrics", "plots") for path in paths(entry.get(kind, []))]
    params = [one for listed in entry.get("params", []) for names in listed.values() for one in names]
    return Instance(
        stage,
        key,
        filled(entry["cmd"]),
        tuple(map(filled, paths(entry.get("deps", [])))),
        tuple(map(filled, outs)),
        tuple(map(filled, params)),
    )


def paths(entries: list[Any]) -> list[str]:
    """The paths of a list whose entries may have options: `- path: {cache: false}`."""
    return [path for entry in entries for path in (entry if isinstance(entry, dict) else [entry])]


def overlap(one: str, other: str) -> bool:
    """Whether one path is the other, or lies below it."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
