"""Which package may import which: the package graph, checked and printed (`python -m tests.support.layers`).

An import statement is an arrow wherever it stands, in a function too; not under `if TYPE_CHECKING:`. A module that is
found by its name (`import_module`: a learner, a kind) is no arrow: who finds it does not know it.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from importlib.util import resolve_name
from pathlib import Path

from retune.pipeline.syntax import syntax
from tests.support import ROOT

LEAVES = {"retune", "atomic_file", "errors", "params", "progress", "run_record", "stable_hash", "yaml_edit"}
"""What every package may import; `retune` is the file __init__.py."""

MAY_IMPORT = {
    "sweep": {"data", "pipeline", "report", "verify"},
    "verify": {"pipeline", "training"},
    "propose": {"data", "llm", "pipeline"},
    "doctor": {"pipeline"},
    "doubts": {"data", "learners"},
    "pipeline": {"data", "exports", "learners", "sources"},
    "engines": {"data", "exports", "learners", "llm", "serve"},
    "serve": set(),
    "exports": {"data", "encoders", "evaluation", "learners", "llm", "sources", "training"},
    "report": {"data", "evaluation", "llm", "training"},
    "learners": {"data", "encoders", "evaluation", "llm", "sources", "training"},
    "encoders": {"training"},
    "llm": {"data", "training"},
    "training": {"evaluation"},
    "evaluation": {"data", "sources"},
    "sources": set(),
    "data": set(),
}
"""Package -> the packages that it may import beside the leaves, from top to bottom."""

FACES = ("stages", "cli", "web", "predict_file", "inference")
"""What a user starts: each may import all packages and the faces behind it here, and no package may import a face."""

ALLOWED: dict[str, set[str]] = {
    **{face: {*MAY_IMPORT, *LEAVES, *FACES[place + 1 :]} for place, face in enumerate(FACES)},
    **{package: below | LEAVES for package, below in MAY_IMPORT.items()},
    **dict.fromkeys(LEAVES, LEAVES),
}

Graph = dict[str, dict[str, int]]
"""Module -> the modules of the project that it imports, each with the line of the import."""


def graph(folder: Path) -> Graph:
    """The imports between the modules below `folder`/retune and `folder`/stages."""
    files = {}
    for file in sorted(file for package in ("retune", "stages") for file in (folder / package).rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    found: Graph = {}
    for name, file in files.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        found[name] = {}
        for statement in syntax(ast.parse(file.read_bytes(), str(file)))[1]:
            for full in _full_names(statement, package):
                if (module := _module(full, files)) and module != name:
                    found[name].setdefault(module, statement.lineno)
    return found


def _full_names(statement: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """What a statement imports: `from a import b` gives a.b, which is a module or a name in one."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    start = resolve_name("." * statement.level + (statement.module or ""), package)
    return [f"{start}.{alias.name}" for alias in statement.names]


def _module(full: str, files: dict[str, Path]) -> str | None:
    """The module of the project that a full name stands for or lies in."""
    while full and full not in files:
        full = full.rpartition(".")[0]
    return full or None


def room(module: str) -> str:
    """The package of retune (or the file at its root) that a module belongs to; `stages` for all of them."""
    parts = module.split(".")
    return parts[1] if parts[0] == "retune" and len(parts) > 1 else parts[0]


def problems(imports: Graph) -> list[str]:
    """Arrows that the table does not have, packages that it does not know, and a cycle of modules, if there is one."""
    found = [
        f"retune/{name} is not in the table of tests/support/layers.py: say what it may import, and who may import it"
        for name in sorted({room(module) for module in imports} - ALLOWED.keys())
    ]
    for module, imported in imports.items():
        for other, line in imported.items():
            start, end = room(module), room(other)
            if start != end and {start, end} <= ALLOWED.keys() and end not in ALLOWED[start]:
                allowed = ", ".join(sorted(ALLOWED[start] - LEAVES)) or "only the leaves"
                found.append(
                    f"{module} imports {other} (line {line}), but {start} may not import {end} (it may: {allowed})"
                )
    try:
        graphlib.TopologicalSorter({module: set(imported) for module, imported in imports.items()}).prepare()
    except graphlib.CycleError as error:
        found.append(f"modules import each other in a cycle: {' <- '.join(error.args[1])}")
    return found


def drawing(imports: Graph) -> str:
    """A line for each package: what it imports, without the leaves."""
    arrows: dict[str, set[str]] = {name: set() for name in (*FACES, *MAY_IMPORT)}
    for module, imported in imports.items():
        arrows.setdefault(room(module), set()).update(room(other) for other in imported)
    width = max(map(len, arrows))
    return "\n".join(
        f"{start:{width}} -> {', '.join(sorted(ends - LEAVES - {start})) or '-'}"
        for start, ends in arrows.items()
        if start not in LEAVES
    )


def main() -> None:
    """Print the graph; exit with a message if it has an arrow that is not allowed, or a cycle."""
    imports = graph(ROOT)
    print(drawing(imports))
    if found := problems(imports):
        sys.exit("\n".join(found))
    print(f"{len(imports)} modules: no cycle, no arrow that is not allowed")


if __name__ == "__main__":
    main()
