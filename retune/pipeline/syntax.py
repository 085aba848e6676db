"""What a module does, as text: its syntax tree without what changes nothing when it runs."""

from __future__ import annotations

import ast
from typing import Any


def syntax(tree: ast.Module) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    """A module's syntax as text, and its import statements; neither holds what stands under `if TYPE_CHECKING:`.

    Like `ast.dump` without docstrings and without what is empty or follows from the place (so it is the same in every
    minor version of Python), and a few times faster.
    """
    out: list[str] = []
    imports: list[ast.Import | ast.ImportFrom] = []
    write = out.append

    def dump(value: Any) -> None:
        if isinstance(value, list):
            write("[")
            for item in value:
                dump(item)
            write("]")
            return
        if not isinstance(value, ast.AST):
            write(repr(value))
            return
        kind = type(value)
        if isinstance(value, ast.Constant):
            write(repr(value.value))
            return
        if isinstance(value, ast.If) and _is_type_checking(value.test):
            dump(value.orelse)
            return
        if isinstance(value, ast.Import | ast.ImportFrom):
            imports.append(value)
        write(kind.__name__)
        write("(")
        for name in kind._fields:
            if name in NO_MEANING:
                continue
            inner: Any = getattr(value, name, None)
            if name == "body" and kind in DOCUMENTED:
                inner = _without_docstring(inner) or ([] if kind is ast.Module else [ast.Pass()])
            if inner is not None and inner != []:
                write(name)
                dump(inner)
        write(")")

    dump(tree)
    return " ".join(out), imports


NO_MEANING = {"ctx", "kind", "type_comment", "type_ignores"}
"""Fields of syntax trees that follow from the place, or that Python does not read."""

DOCUMENTED = {ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef}


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """A body without its docstring; it may be empty then, where one that never had a docstring holds `pass`."""
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
