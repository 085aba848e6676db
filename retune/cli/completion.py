"""Names that a shell completes: those of params-resolved.json and of the folders here, read without importing torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retune.params import RESOLVED


def models(incomplete: str) -> list[str]:
    """Declared models, and exports as `exports/NAME`."""
    return _beginning(
        incomplete, [*_declared("models"), *_declared("ensembles"), *(f"exports/{name}" for name in _exports())]
    )


def own_models(incomplete: str) -> list[str]:
    """Declared models."""
    return _beginning(incomplete, _declared("models"))


def tasks(incomplete: str) -> list[str]:
    """Declared tasks."""
    return _beginning(incomplete, _declared("tasks"))


def models_and_tasks(incomplete: str) -> list[str]:
    """Declared models and tasks."""
    return _beginning(incomplete, [*_declared("models"), *_declared("ensembles"), *_declared("tasks")])


def declared(incomplete: str) -> list[str]:
    """Declared models, tasks and roles of bases."""
    return _beginning(incomplete, [name for part in ("models", "tasks", "bases") for name in _declared(part)])


def exports(incomplete: str) -> list[str]:
    """Declared and built exports."""
    return _beginning(incomplete, _exports())


def _exports() -> list[str]:
    built = [card.parent.name for card in Path("exports").glob("*/export.json")]
    return sorted({*_declared("exports"), *built})


def _declared(part: str) -> list[str]:
    """The names of a section; none without a project, or where its file can't be read."""
    try:
        found: dict[str, Any] = json.loads(RESOLVED.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a shell that waits for names has no use for an error
        return []
    return list(found.get(part, {})) if isinstance(found, dict) else []


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
