"""What dvc.yaml declares for one stage instance: the files that it reads and writes, the parameters that it gets.

Known are `foreach` over a section of params.yaml, and `${key}`, `${item}` and `${item.NAME}` in paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retune.errors import RetuneError
from retune.params import RESOLVED
from retune.pipeline.instances import paths
from retune.pipeline.yaml_file import LOADER

PIPELINE = Path("dvc.yaml")
SECTION = re.compile(r"\$\{(\w+)\}")
EXPRESSION = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Declared:
    """Paths relative to the project's folder, as dvc.yaml has them; `parameters` are keys of params-resolved.json.

    `outputs` are the folders and files that belong to the instance alone, with all that it writes below them: the
    shortest part of a path that holds its name (`reports/training/NAME` for `reports/training/NAME/metrics.json`).
    """

    stage: str
    instance: str
    reads: tuple[Path, ...]
    outputs: tuple[Path, ...]
    parameters: tuple[str, ...]

    @property
    def name(self) -> str:
        """The instance as DVC names it."""
        return f"{self.stage}@{self.instance}" if self.instance else self.stage


def load(stage: str, instance: str, resolved: dict[str, Any]) -> Declared | None:
    """The entry of one instance; None where dvc.yaml has no such stage. Raises `RetuneError` for other expressions."""
    stages = yaml.load(PIPELINE.read_text(encoding="utf-8"), Loader=LOADER).get("stages") or {}
    if (entry := stages.get(stage)) is None:
        return None
    values: dict[str, Any] = {}
    if "foreach" in entry:
        values = _item(entry["foreach"], instance, resolved)
        entry = entry["do"]

    def said(text: str) -> str:
        return EXPRESSION.sub(lambda match: _value(match[1].strip(), values, stage), text)

    outputs: dict[Path, None] = {}
    for written in (one for kind in ("outs", "plots", "metrics") for one in paths(entry.get(kind) or [])):
        parts = Path(written).parts
        end = next((place for place, part in enumerate(parts, 1) if "${key}" in part), len(parts))
        outputs[Path(said(str(Path(*parts[:end]))))] = None
    reads = [Path(said(dep)) for dep in paths(entry.get("deps") or [])]
    parameters: list[str] = []
    for one in entry.get("params") or []:
        for file, keys in (one if isinstance(one, dict) else {"params.yaml": [one]}).items():
            if Path(said(file)) == RESOLVED:
                parameters += [said(key) for key in keys or ()]
            else:
                reads.append(Path(said(file)))
    return Declared(stage, instance, tuple(reads), tuple(outputs), tuple(parameters))


def _item(over: Any, instance: str, resolved: dict[str, Any]) -> dict[str, Any]:
    section = SECTION.fullmatch(over.strip()) if isinstance(over, str) else None
    items = resolved.get(section[1], {}) if section else over
    item = items.get(instance, {}) if isinstance(items, dict) else instance
    return {"key": instance, "item": item}


def _value(name: str, values: dict[str, Any], stage: str) -> str:
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, str | int):
        raise RetuneError(
            f"{PIPELINE}: strict stages can't tell what `${{{name}}}` of `{stage}` is: write paths with `${{key}}` and "
            "`${item.NAME}`, or turn them off by `strict: false` in params.yaml"
        )
    return str(found)
