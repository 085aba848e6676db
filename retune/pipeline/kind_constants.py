"""The literal constants of a task kind's module, for `resolve`, which must not import polars."""

from __future__ import annotations

import ast
from typing import Any

from retune.pipeline.declarations import Project


def constants(project: Project, kind: str) -> dict[str, Any]:
    """The literal constants of a task kind's module, read without importing it, since it imports polars.

    `COLUMNS` are the fields of the class `Rows`, wherever it stands in the module. A module is read once a project.
    """
    if kind not in project.kinds:
        project.kinds[kind] = _read(project, kind)
    return project.kinds[kind]


def _read(project: Project, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    path = project.folder / f"retune/data/kinds/{kind}.py"
    if not path.is_file():
        return found
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in [*tree.body, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
        elif isinstance(node, ast.ClassDef) and node.name == "Rows":
            targets = [n.targets[0] for n in node.body if isinstance(n, ast.Assign)]
            found["COLUMNS"] = tuple(t.id for t in targets if isinstance(t, ast.Name))
    return found
